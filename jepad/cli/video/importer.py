"""The child process that imports a checkpoint: started, listened to, ended with us.

Owns: its command line, its deadline, its lines. Does not know: what an import does.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from jepad.errors import EngineError, JepadError

#: The longest step that says nothing: one clip through the largest encoder on one slow core.
SILENT_S = 900.0
#: A checkpoint is read, hashed, written and measured within this, or something hangs.
DEADLINE_S = 4 * 3600.0


class ImportFailed(JepadError):
    """What the child said was wrong, with its exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


def run(words: Sequence[str], told: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Import; `told` hears stage, done, total. The last thing the child said.

    ImportFailed: its error. EngineError: it died, hung or ran past its time.
    """
    command = [sys.executable, "-m", "jepad.learn.video.importing", "--parent", str(os.getpid())]
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=complaints)  # fmt: skip
        assert child.stdout is not None
        try:
            for said in _said(child.stdout):
                if "error" in said:
                    raise ImportFailed(str(said["error"]), int(said.get("code", 1)))
                if "model" in said:
                    return said
                told(str(said.get("stage")), int(said.get("done", 0)), int(said.get("total", 0)))
            child.wait()
            complaints.seek(0)
            raise EngineError(f"the import ended without a word{_why(child, complaints)}")
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def _said(pipe: IO[bytes]) -> Iterator[dict[str, Any]]:
    """JSON lines, until there are no more."""
    pending, end = b"", time.monotonic() + DEADLINE_S
    while True:
        wait = min(SILENT_S, end - time.monotonic())
        if wait <= 0 or not select.select([pipe], [], [], wait)[0]:
            raise EngineError("the import hangs and was ended; nothing was installed")
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        yield from map(_object, lines)


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError as e:
        raise EngineError(f"the import said {line[:80]!r}, not of this protocol") from e
    if not isinstance(said, dict):
        raise EngineError(f"the import said {line[:80]!r}, not of this protocol")
    return said


def _why(child: subprocess.Popen[bytes], complaints: IO[bytes]) -> str:
    if child.returncode and child.returncode < 0:
        return f" (signal {-child.returncode}; out of memory?); nothing was installed"
    lines = complaints.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1]}; nothing was installed" if lines else "; nothing was installed"

"""A published checkpoint to an installed model: `python -m jepad.learn.video.importing PATH`.

Owns: the order of the steps, what is told on the way, the limits a hostile file meets.
Does not know: terminals; `jepactl model import` starts this as a child and draws its lines.

Every line on stdout is a JSON object: {"stage", "done", "total"} on the way, at the end {"model"}
with the manifest's main figures or {"error", "code"}.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

from jepad.errors import JepadError, ModelError, SettingError
from jepad.learn.video.request import PRECISIONS, Request, Tell
from jepad.models import library
from jepad.worker.process import tie_to

#: Address space beside three times the checkpoint's size: torch, ONNX Runtime, the graphs.
_ROOM = 24 << 30


def run(request: Request, tell: Tell) -> library.Installed:
    """All steps; the library is untouched until the last.

    SettingError: a request that can't be met. ModelError: what is wrong with the checkpoint.
    """
    wrong = [p for p in request.precisions if p not in PRECISIONS]
    if wrong or not request.precisions:
        raise SettingError(f"precision {', '.join(wrong) or 'none'}: choose of int8, fp32")
    try:
        from jepad.learn.video import install
    except ModuleNotFoundError as e:
        raise ModelError(f"an import needs {e.name}: pip install 'jepad[train]'") from e
    return install.install(request, tell)


def main(argv: list[str] | None = None) -> int:
    """The child process; its exit code is the error's."""
    args = _parser().parse_args(argv)
    if args.parent and not tie_to(args.parent):
        return 1
    request = Request(
        path=args.path,
        root=args.root,
        name=args.name,
        precisions=tuple(dict.fromkeys(args.precision.split(","))),
        preset=args.preset,
        licence=args.licence,
        key=args.key,
        sha256=args.sha256,
        replace=args.force,
        ungated=args.ungated,
        probe_of=args.probe_of,
        heads=args.heads,
    )
    try:
        _limit(request.path, request.probe_of)
        found = run(request, _Told())
    except JepadError as error:
        _say({"error": str(error), "code": error.exit_code})
        return error.exit_code
    except (MemoryError, OSError) as error:
        why = "needs more memory than it may take" if isinstance(error, MemoryError) else error
        _say({"error": f"{request.path}: import failed: {why}", "code": ModelError.exit_code})
        return ModelError.exit_code
    _say({"model": found.manifest.name, "directory": found.directory})
    return 0


class _Told:
    """Progress lines, ten a second at most; the first and last of a stage always."""

    def __init__(self) -> None:
        self._stage, self._at = "", 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage or done == total or now - self._at > 0.1:
            self._stage, self._at = stage, now
            _say({"stage": stage, "done": done, "total": total})


def _say(what: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _limit(path: str, beside: str | None) -> None:
    """No file makes this process larger than a checkpoint of its size may: a bomb ends here."""
    try:
        size = _bytes(path) + (_bytes(beside) if beside else 0)
    except OSError as e:
        raise ModelError(f"{path}: can't be read ({e.strerror})") from e
    most = 3 * size + _ROOM
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _bytes(path: str) -> int:
    if os.path.isdir(path):
        return sum(e.stat().st_size for e in os.scandir(path) if e.is_file())
    return os.stat(path).st_size


def _parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="python -m jepad.learn.video.importing")
    add = out.add_argument
    add("path")
    add("--root", required=True)
    add("--name")
    add("--precision", default="int8")
    add("--preset")
    add("--licence")
    add("--key")
    add("--sha256")
    add("--force", action="store_true")
    add("--ungated", action="store_true")
    add("--probe-of")
    add("--heads", type=int, default=16)
    add("--parent", type=int, default=0)
    return out


if __name__ == "__main__":
    sys.exit(main())

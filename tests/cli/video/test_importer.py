"""Whatever becomes of the child that imports, the command ends and says why."""

import os
import signal
import stat

import pytest

from jepad.cli.video import importer
from jepad.errors import EngineError

PROGRESS = """echo '{"stage": "hash", "done": 1, "total": 4}'"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """A shell script in place of the import."""

    def write(*lines):
        path = tmp_path / "child"
        path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(importer.sys, "executable", str(path))

    return write


def quiet(*_):
    """Nobody listens."""


def test_progress_and_result(child):
    child(PROGRESS, 'printf \'{"mod\'; sleep 0.1; echo \'el": "x", "directory": "/d"}\'')
    told = []
    assert importer.run(["x"], lambda *step: told.append(step)) == {"model": "x", "directory": "/d"}
    assert told == [("hash", 1, 4)]


def test_its_error_and_exit_code(child):
    child("""echo '{"error": "x.pt: is truncated", "code": 4}'; exit 4""")
    with pytest.raises(importer.ImportFailed, match="is truncated") as error:
        importer.run(["x.pt"], quiet)
    assert error.value.exit_code == 4


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("exit 0", "ended without a word; nothing was installed"),
        ("echo boom >&2; echo KeyError: 3 >&2; exit 1", "KeyError: 3; nothing was installed"),
        ("kill -9 $$", r"signal 9; out of memory\?"),
        ("echo not json; sleep 60", "not of this protocol"),
    ],
)
def test_a_child_that_dies_or_babbles(child, line, words):
    child(PROGRESS, line)
    with pytest.raises(EngineError, match=words):
        importer.run([], quiet)


def test_a_child_that_hangs_is_ended(child, tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "SILENT_S", 0.3)
    child(f"echo $$ > {tmp_path}/pid", PROGRESS, "exec sleep 60")
    with pytest.raises(EngineError, match="hangs and was ended"):
        importer.run([], quiet)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIG_DFL)


def test_a_child_that_never_ends_is_ended(child, monkeypatch):
    monkeypatch.setattr(importer, "DEADLINE_S", 0.3)
    child(f"while true; do {PROGRESS}; sleep 0.05; done")
    with pytest.raises(EngineError, match="hangs and was ended"):
        importer.run([], quiet)

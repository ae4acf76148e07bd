"""The last line of a worker's standard error: bounded, harmless, passed on."""

import asyncio
import os
import subprocess

import pytest

from jepad import journal
from jepad.worker.words import MOST, LastLine, Words


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([b""], ""),
        ([b"one\ntwo\n\n  \n"], "two"),
        ([b"on", b"e\ntw", b"o"], "two"),
        ([b"jepad-scene: no device 'cuda:7' here\n"], "no device 'cuda:7' here"),
        ([b"\x1b[31mred\x07\x00\xff\n"], "[31mred  \ufffd"),
        (["left\u202eright\u2028\n".encode()], "left right"),
        ([b"x" * 300, b"y" * 10**6, b"\n", b"\n"], "x" * 300 + "y" * (MOST - 300)),
    ],
)
def test_the_last_line(parts, said):
    line = LastLine()
    for part in parts:
        line.heard(part)
    assert line.text == said


def test_it_is_passed_on_and_kept(capfd):
    async def run():
        words = Words()
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", "echo first >&2; echo last >&2", stderr=words.into
        )
        words.begun()
        await child.wait()
        return words.close()

    assert asyncio.run(run()) == "last"
    assert capfd.readouterr().err == "first\nlast\n"


def test_whoever_else_holds_the_pipe_is_not_waited_for():
    async def run():
        words = Words()
        with subprocess.Popen(["sleep", "600"], stderr=words.into) as other:
            os.write(words.into, b"the end\n")
            words.begun()
            try:
                return words.close()
            finally:
                other.kill()

    assert asyncio.run(run()) == "the end"


@pytest.mark.parametrize("ours", [True, False])
def test_a_child_of_the_journal_finds_it_there(monkeypatch, ours):
    async def run():
        words = Words()
        try:
            pipe = os.fstat(words.into)
            return words.environment(), {"JOURNAL_STREAM": f"{pipe.st_dev}:{pipe.st_ino}"}
        finally:
            words.close()

    monkeypatch.setattr(journal, "stderr_is_journal", lambda: ours)
    made, told = asyncio.run(run())
    assert made == (told if ours else {})

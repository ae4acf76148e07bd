"""The command line of `jepad`: what is said about mistakes, and when nobody takes its output."""

import os
import subprocess

import pytest

from tests.running import BIN, PATIENCE_S, environment, jepad

ONE_OBJECT = ("--session", "--engine", "none", "--seconds", "0.5", "--json")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sesion"], "no flag '--sesion'; did you mean --session?"),
        (["--session", "now"], "no flag 'now'"),
        (["--seconds", "abc"], "'abc' is not a positive number of seconds"),
        (["--seconds", "nan"], "'nan' is not a positive number of seconds"),
        (["--seconds", "inf"], "'inf' is not a positive number of seconds"),
        (["--seconds", "-1"], "'-1' is not a positive number of seconds"),
        (["--once"], "--once and --trace need --replay FILE"),
    ],
)
def test_wrong_usage_is_2_with_a_hint(tmp_path, words, said):
    done = jepad(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def written_to(home, stdout, *words, unbuffered=""):
    return subprocess.run(
        [BIN / "jepad", *words],
        env=environment(home) | {"PYTHONUNBUFFERED": unbuffered},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize(
    ("words", "unbuffered"), [(ONE_OBJECT, ""), (ONE_OBJECT, "1"), (("--help",), "")]
)
def test_a_full_disk_is_one_line(tmp_path, words, unbuffered):
    with open("/dev/full", "w") as full:
        done = written_to(tmp_path, full, *words, unbuffered=unbuffered)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == "jepad: can't write: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("words", [ONE_OBJECT, ("--help",)])
def test_a_reader_that_left_is_no_news(tmp_path, words):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = written_to(tmp_path, writer, *words)
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr

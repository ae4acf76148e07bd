"""Reading the kernel's files: what is kept open, what is an error, what is a name."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepad.errors import SourceError
from jepad.sources.source import KernelFile, KeyedFile, answers, number, numbers, word


def test_a_file_is_opened_once_and_read_anew(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"1\n")
    file = KernelFile(str(path))
    assert file.read() == b"1\n"
    before = len(os.listdir("/proc/self/fd"))
    path.write_bytes(b"2\n")
    assert file.read() == b"2\n"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_forgotten_file_leaks_no_descriptor(tmp_path):
    (tmp_path / "f").write_bytes(b"1\n")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        KernelFile(str(tmp_path / "f")).read()
    assert len(os.listdir("/proc/self/fd")) == before


def test_large_files_are_read_whole(tmp_path):
    data = b"".join(b"key%d %d\n" % (i, i) for i in range(30_000))
    (tmp_path / "f").write_bytes(data)
    file = KernelFile(str(tmp_path / "f"))
    assert file.read() == data
    assert file.read() == data


def test_errors_name_the_file(tmp_path):
    missing = KernelFile(str(tmp_path / "missing"))
    with pytest.raises(SourceError, match="missing: No such file"):
        missing.read()
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(SourceError, match="empty: empty"):
        KernelFile(str(tmp_path / "empty")).read()
    (tmp_path / "words").write_bytes(b"hello\n")
    words = KernelFile(str(tmp_path / "words"))
    with pytest.raises(SourceError, match="words: not in the kernel's format"):
        words.parse(number)
    assert not answers(words.read) or words.read() == b"hello\n"


def test_a_pipe_in_place_of_a_file_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe"):
        KernelFile(str(tmp_path / "pipe")).read()


def test_a_file_that_came_back_is_read_again(tmp_path):
    file = KernelFile(str(tmp_path / "f"))
    with pytest.raises(SourceError):
        file.read()
    (tmp_path / "f").write_bytes(b"1\n")
    assert file.read() == b"1\n"


def test_keys_are_found_wherever_they_move(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"a 1\nb 2\nc 3\n")
    file = KeyedFile(str(path), "c a missing")
    assert file.learn() == ("c", "a")
    assert file.read() == {"c": 3, "a": 1}
    path.write_bytes(b"c 5\na 6\nb 7\n")
    assert file.read() == {"c": 5, "a": 6}


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_numbers_are_finite_or_an_error(tokens):
    try:
        values = numbers(tokens)
    except ValueError:
        return
    assert all(abs(value) < float("inf") for value in values)


@given(st.text())
def test_a_word_breaks_no_line(name):
    out = word(name)
    assert len(out) <= 96
    assert out.isascii()
    assert not set(out) & set(', \n\t"\x1b')

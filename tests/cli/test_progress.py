"""The bar: on a terminal alone, and gone at the end."""

import io
from types import SimpleNamespace

import pytest

from jepad.cli import progress
from jepad.cli.progress import ERASE, Bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    out = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=out))
    return out


def test_nothing_where_there_is_no_terminal(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=out))
    with Bar() as bar:
        bar.show(1, 2, "words")
    assert out.getvalue() == ""


def test_a_share_and_words_erased_at_the_end(terminal):
    with Bar() as bar:
        bar.show(1, 4, "a\x1b[2Jb")
        shown = terminal.getvalue()
    assert f"[{'#' * 6}{'.' * 18}]  25%" in shown
    assert "\x1b[2J" not in shown
    assert terminal.getvalue().endswith(ERASE)


def test_without_a_total_there_is_no_share(terminal):
    with Bar() as bar:
        bar.show(7, 0, "7 frames")
    assert terminal.getvalue() == f"{ERASE}7 frames{ERASE}"


def test_the_same_words_are_not_drawn_too_often(terminal, monkeypatch):
    monkeypatch.setattr(progress, "GAP_S", 1000.0)
    with Bar() as bar:
        for n in range(5):
            bar.show(n, 5, "one")
        bar.show(5, 5, "two")
    assert terminal.getvalue().count(ERASE) == 3


def test_it_is_erased_after_an_error_too(terminal):
    def fail():
        with Bar() as bar:
            bar.show(1, 2, "words")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert terminal.getvalue().endswith(ERASE)


def test_a_bar_never_shown_writes_nothing(terminal):
    with Bar():
        pass
    assert terminal.getvalue() == ""

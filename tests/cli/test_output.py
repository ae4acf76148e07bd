"""Text that is safe, aligned, and JSON that is JSON."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from jepad.cli import output
from jepad.cli.picture import sparkline
from jepad.cli.suggest import did_you_mean


@given(st.text())
def test_plain_text_holds_nothing_that_a_terminal_obeys(text):
    safe = output.plain(text)
    assert not [c for c in safe if (ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160]
    assert len(safe) == len(text)


@given(st.text(alphabet="\x1b[]0123456789;mJHA\x07x"))
def test_styled_text_holds_colours_and_nothing_else(text):
    rest = output.styled(text)
    for piece in rest.split("\x1b")[1:]:
        code, mark, _ = piece.partition("m")
        assert mark == "m"
        assert code.startswith("[")
        assert not code[1:].strip("0123456789;")
    assert "\x07" not in rest


def test_colours_pass():
    assert output.styled("\x1b[1;31mred\x1b[0m") == "\x1b[1;31mred\x1b[0m"
    assert output.styled("a\x1b[2Jb") == "a\ufffd[2Jb"
    assert output.paint("x", output.RED, on=False) == "x"


def test_json_of_what_json_does_not_know():
    value = {"a": [math.nan, math.inf, 1.5], 2: (True, None), "b": b"x"}
    assert json.dumps(output.finite(value), allow_nan=False) == (
        '{"a": [null, null, 1.5], "2": [true, null], "b": "x"}'
    )


def test_a_table_is_aligned():
    assert output.table([("N", "V"), ("long", "1"), ("x", "22")]) == [
        "N      V",
        "long   1",
        "x     22",
    ]


def test_sparkline():
    assert sparkline([0, 7]) == "▁█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([0, math.nan, 7]) == "▁ █"
    assert sparkline([math.nan]) == sparkline([]) == ""
    assert len(sparkline(range(100))) == 20


def test_near_names():
    assert did_you_mean("memroy", ["cpu", "memory"]) == "; did you mean memory?"
    assert did_you_mean("xyz", ["cpu", "memory"]) == ""

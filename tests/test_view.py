"""Values in words a person knows."""

import math

import pytest

from jepad.records import Risk
from jepad.view import finite, measured, quantity, risk_json, risk_line, span


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (16 * 1024 * 1024, "KiB", "16.0 GiB"),
        (1.5 * 1024, "KiB/s", "1.5 MiB/s"),
        (2048, "sector/s", "1.0 MiB/s"),
        (250_000, "us/s", "25.0 %"),
        (150, "tick/s", "150.0 %"),
        (61.25, "degC", "61.2 °C"),
        (12345.6, "event/s", "12,346 /s"),
        (math.nan, "KiB", "—"),
        (0, "B", "0 B"),
        (1.9e-14, "event/s", "0 /s"),
    ],
)
def test_quantities(value, unit, words):
    assert quantity(value, unit) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4, "4s"), (64, "1m4s"), (160, "2m40s"), (600, "10m"), (7260, "2h1m"), (math.inf, "—")],
)
def test_spans(seconds, words):
    assert span(seconds) == words


def test_json_has_no_infinities():
    risk = Risk("memory", 0.5, math.inf, 60.0, "app.slice", "grows", {"mem.MemFree": math.nan})
    assert risk_json(risk)["eta_s"] is None
    assert risk_json(risk)["evidence"] == {"mem.MemFree": None}
    assert finite(1 / 3) == 0.333333


def test_a_risk_is_one_sentence():
    line = risk_line(Risk("memory", 0.91, 28.0, 60.0, "app.slice", "MemFree falls"))
    assert line == "memory 91% in 28s [app.slice]: MemFree falls"


@pytest.mark.parametrize(
    ("number", "suffix", "unit", "value"),
    [
        (3.0, "", "KiB", 3.0), (3.0, "KiB", "KiB", 3.0), (1.0, "GiB", "KiB", 2.0**20),
        (1.0, "MiB/s", "sector/s", 2048.0), (20.0, "%", "us/s", 200_000.0), (5.0, "%", "%", 5.0),
        (1.0, "MiB", "sector/s", None), (1.0, "MiB/s", "KiB", None), (1.0, "GB", "KiB", None),
        (1.0, "%", "KiB", None), (1.0, "MiB", "degC", None),
    ],
)  # fmt: skip
def test_a_number_with_a_unit_is_one_of_the_series(number, suffix, unit, value):
    assert measured(number, suffix, unit) == value

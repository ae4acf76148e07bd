"""V-JEPA 2 here beside Meta's and `transformers`': the same numbers, array by array.

`--data DIR` runs any directory of golden cases (tests/fixtures/vjepa/README.md says what one is);
without it, the cases of the tests. Missed goals are a failure here: exit 1.
"""

from __future__ import annotations

import importlib.util
import json
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import controls, frames, golden, huggingface, replay
from bench.controls import Control
from bench.golden import Case, Row
from bench.report import Cell, Goal, Options, Report, Table
from jepad.errors import JepadError, SettingError

RANDOM = (
    "Weights are random and small: this proves the arithmetic, not what trained weights say "
    "(none can be downloaded here)."
)
Runner = Callable[[Case], Iterable[Row]]
#: What runs a case, by its kind.
KINDS: Mapping[str, Runner] = {
    "modules": golden.run,
    "hf": huggingface.run,
    "preproc": frames.run,
    **replay.KINDS,
}
#: What a file of another format, or a model that doesn't fit its case, raises.
FAULTS = (
    JepadError, ArithmeticError, AssertionError, AttributeError, EOFError, KeyError, IndexError,
    MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, json.JSONDecodeError,
    lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case after its run; `fault` says why it could not be run."""

    name: str
    kind: str
    rows: Sequence[Row]
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Every array is there and within its tolerance."""
        return not self.fault and bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def worst(self) -> Row | None:
        """The array nearest to its tolerance, or furthest beyond."""
        return max(self.rows, key=_strain, default=None)


def run(options: Options) -> Report:
    """All cases of the directory, then the peer and the faults that must be noticed."""
    torch.set_num_threads(1)  # the goldens' own; small models gain nothing by more
    directory = Path(options.data) if options.data else golden.FIXTURES
    report = Report(notes=[RANDOM])
    outcomes = [examined(directory, name) for name in golden.names(directory)]
    _told(report, outcomes)
    _beside_transformers(report, quick=options.quick)
    _spoilt(report, directory, outcomes, quick=options.quick)
    return report


def examined(directory: Path, name: str) -> Outcome:
    """One case, run to its end; a fault of the case or of the code is an outcome too."""
    kind = "?"
    try:
        case = golden.load(directory, name)
        kind = case.kind
        return Outcome(name, kind, compared(case))
    except FAULTS as error:
        return Outcome(name, kind, [], _words(error))


def compared(case: Case) -> list[Row]:
    """Every array of a case; what its kind did not compare is infinitely off.

    SettingError: nobody knows the kind.
    """
    if case.kind not in KINDS:
        raise SettingError(f"a case of kind {case.kind!r} is unknown: {', '.join(KINDS)}")
    rows = list(KINDS[case.kind](case))
    return [*rows, *_uncompared(case, rows)]


def _uncompared(case: Case, rows: Iterable[Row]) -> Iterator[Row]:
    """What a case stores and nobody looked at; one that stores nothing proves nothing."""
    stored = [key for key in case.arrays if key.startswith(("out/", "mid/"))]
    if not any(key.startswith("out/") for key in stored):
        yield Row(case.name, "out/", math.inf)
    seen = {row.array for row in rows}
    for key in stored:
        if key not in seen:
            yield Row(case.name, key, math.inf)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def _told(report: Report, outcomes: Sequence[Outcome]) -> None:
    right = sum(outcome.ok for outcome in outcomes)
    arrays = sum(len(outcome.rows) for outcome in outcomes)
    off = sum(not row.ok for outcome in outcomes for row in outcome.rows)
    report.goals += [
        Goal("golden cases reproduced", right, "==", len(outcomes)),
        Goal("arrays out of tolerance", off, "==", 0, f"of {arrays}"),
    ]
    columns = ["case", "kind", "arrays", "ok", "max|Δ|", "tolerance", "of", "fault"]
    rows = [_line(outcome) for outcome in outcomes]
    report.tables.append(Table("golden cases, by the array nearest its limit", columns, rows))
    missed = [row for outcome in outcomes for row in outcome.rows if not row.ok]
    if missed:
        report.tables.append(_rows("arrays out of tolerance", missed))


def _line(outcome: Outcome) -> list[Cell]:
    worst = outcome.worst
    figures = (worst.delta, worst.tolerance, worst.array) if worst else (None, None, "")
    ok = "yes" if outcome.ok else "NO"
    return [outcome.name, outcome.kind, len(outcome.rows), ok, *figures, outcome.fault]


def _beside_transformers(report: Report, *, quick: bool) -> None:
    what = "transformers: outputs that differ from ours"
    if importlib.util.find_spec("transformers") is None:
        why = "transformers is not installed: pip install -e '.[dev]'"
        report.goals.append(Goal(what, None, "==", 0, why))
        return
    rows = list(huggingface.peers(huggingface.PEERS[:2] if quick else huggingface.PEERS))
    off = sum(not row.ok for row in rows)
    report.goals.append(Goal(what, off, "==", 0, f"of {len(rows)}, both in this run"))
    report.tables.append(_rows("transformers beside ours, the same weights", rows))


def _spoilt(report: Report, directory: Path, outcomes: Sequence[Outcome], *, quick: bool) -> None:
    """Faults made on purpose, in every case that can show them."""
    found: list[Control] = []
    for outcome in outcomes:
        if outcome.kind == "modules" and outcome.rows:
            found += _controls(directory, outcome.name, quick=quick)
    if importlib.util.find_spec("transformers") is not None:
        found += huggingface.controls()
    unseen = sum(not one.ok for one in found)
    report.goals.append(
        Goal("faults made on purpose that went unnoticed", unseen, "==", 0, f"of {len(found)}")
    )
    columns = ["case", "fault", "max|Δ|", "at least", "noticed"]
    rows: list[list[Cell]] = [
        [one.case, one.fault, one.delta, one.least, "yes" if one.ok else "NO"]
        for one in _fewest(found)
    ]
    report.tables.append(Table("negative controls, the weakest of each kind", columns, rows))


def _controls(directory: Path, name: str, *, quick: bool) -> Iterator[Control]:
    """Of one case; where they can't be made, a fault would go unnoticed."""
    try:
        yield from controls.run(golden.load(directory, name), quick)
    except FAULTS as error:
        yield Control(name, f"not made: {_words(error)}", math.nan, controls.PLAIN)


def _fewest(found: Iterable[Control]) -> Iterator[Control]:
    """Of each case and kind of fault the one that moved least; every one that was not noticed."""
    weakest: dict[tuple[str, str], Control] = {}
    for one in found:
        if not one.ok:
            yield one
            continue
        key = (one.case, "dropped" if one.fault.endswith("dropped") else one.fault)
        if key not in weakest or one.delta < weakest[key].delta:
            weakest[key] = one
    yield from weakest.values()


def _rows(title: str, rows: Iterable[Row]) -> Table:
    lines: list[list[Cell]] = [
        [row.case, row.array, row.delta, row.tolerance, "yes" if row.ok else "NO"] for row in rows
    ]
    return Table(title, ["case", "array", "max|Δ|", "tolerance", "ok"], lines)


def _strain(row: Row) -> float:
    """How much of the tolerance is used; what must be exact and isn't uses all of it and more."""
    if math.isnan(row.delta):
        return math.inf
    if not row.tolerance:
        return math.inf if row.delta else 0.0
    return row.delta / row.tolerance

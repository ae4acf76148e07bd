"""What a bench gives back: goals with their values, and tables.

Owns: the JSON shape `{"bench", "goals": [{"what", "value", "goal", "met"}], "tables"}`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    quick: bool = False
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure beside its limit; `value` None when it could not be measured, `note` says why."""

    what: str
    value: float | None
    sense: Literal["<", "<=", ">=", "=="]
    limit: float
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None when nothing was measured."""
        if self.value is None or not math.isfinite(self.value):
            return None
        return {
            "<": self.value < self.limit,
            "<=": self.value <= self.limit,
            ">=": self.value >= self.limit,
            "==": self.value == self.limit,
        }[self.sense]


@dataclass(frozen=True, slots=True)
class Table:
    """Named rows under named columns, machine-readable."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(slots=True)
class Report:
    """Goals and tables of one run."""

    goals: list[Goal] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self, bench: str) -> dict[str, object]:
        """The object `--json` prints; NaN becomes null."""
        goals = [
            {
                "what": g.what,
                "value": _cell(g.value),
                "goal": f"{g.sense} {g.limit:g}",
                "met": g.met,
            }
            | ({"note": g.note} if g.note else {})
            for g in self.goals
        ]
        tables = [
            {
                "title": t.title,
                "columns": list(t.columns),
                "rows": [[_cell(v) for v in row] for row in t.rows],
            }
            for t in self.tables
        ]
        return {"bench": bench, "goals": goals, "tables": tables, "notes": self.notes}

    def to_text(self, bench: str) -> str:
        """The same for a person."""
        lines = [f"bench {bench}"]
        for g in self.goals:
            mark = {True: "met   ", False: "MISSED", None: "  —   "}[g.met]
            lines.append(
                f"  {mark} {g.what}: {_show(g.value)} (goal {g.sense} {g.limit:g}) {g.note}"
            )
        for t in self.tables:
            lines += ["", t.title, *_aligned(t)]
        return "\n".join([*lines, *self.notes, ""])


def _cell(value: Cell) -> Cell:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _show(value: Cell) -> str:
    if value is None:
        return "—"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _aligned(table: Table) -> list[str]:
    cells = [list(table.columns), *([_show(v) for v in row] for row in table.rows)]
    widths = [max(len(r[i]) for r in cells) for i in range(len(table.columns))]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in cells]

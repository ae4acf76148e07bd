"""`python -m bench.page SCENE.json [GPU.json] > docs/performance.md`: that page, from what the
benches `scene` and `gpu` printed with --json.

Owns: the page's words. Does not know: how anything was measured.
"""

from __future__ import annotations

import json
import sys
from typing import Any

_MARK = {True: "met", False: "**missed**", None: "not measured"}
_HEAD = """# Performance of the video world model

Made by `python -m bench scene --json > scene.json; python -m bench gpu --json > gpu.json;
python -m bench.page scene.json gpu.json`; do not edit. Times are processor time on one thread (CPU)
or between CUDA events (GPU); what is compared ran in turn in one process, medians of rounds.

No published weights could be reached: every speed is of random weights in the published shapes,
which costs the same; accuracy of rounding on random weights proves the arithmetic, and nothing
about a real checkpoint, whose import measures its own (`jepactl model show NAME`).
"""
_TITLES = {"scene": "CPU", "gpu": "GPU"}


def page(reports: list[dict[str, Any]]) -> str:
    """Markdown of reports as `--json` prints them."""
    return "\n".join([_HEAD, *(_section(report) for report in reports)])


def _section(report: dict[str, Any]) -> str:
    lines = [f"## {_TITLES.get(report['bench'], report['bench'])}", ""]
    lines += [f"{note}  " for note in report["notes"]]
    goals = [
        [g["what"], _shown(g["value"]), g["goal"], _MARK[g["met"]], g.get("note", "")]
        for g in report["goals"]
    ]
    lines += ["", *_table(["", "value", "goal", "", ""], goals)]
    for table in report["tables"]:
        cells = [[_shown(value) for value in row] for row in table["rows"]]
        lines += ["", f"### {table['title']}", "", *_table(table["columns"], cells)]
    return "\n".join([*lines, ""])


def _table(columns: list[str], rows: list[list[str]]) -> list[str]:
    columns = [column.replace("|", r"\|") for column in columns]
    rule = "|".join(["---"] * len(columns))
    return [f"| {' | '.join(columns)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)]


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.6f}" if 0.999 < value < 1 else f"{value:.5g}"  # a cosine is not quite 1


def main() -> int:
    """Reads the files that are named, writes the page to stdout."""
    reports = []
    for path in sys.argv[1:]:
        with open(path) as file:
            reports.append(json.load(file))
    if not reports:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    sys.stdout.write(page(reports))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench stall [--data DIR]`: who warns of memory stalls, how early, how often in vain.

Owns: what counts as warned and as a false alarm, the tables and goals. jepad is judged by the
code the daemon runs: Outlook, assess, Alerts with their settings. Does not know: how any rule
works (rules.py), what a stall is (learn/stall_onsets.py).

The lead of a stall inside a storm is mostly that of the alarm still on: "storms" counts the
first stalls alone. A rule that is silent for less than 10 s is taken to be on.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import numpy as np

from bench.report import Cell, Goal, Options, Report, Table
from bench.rules import RULES, Rows
from jepad import config
from jepad.heads import risk
from jepad.learn.stall_onsets import Recording, Windows, recordings, seconds
from jepad.learn.stall_tally import Tally, Told, tally
from jepad.outlook import Outlook
from jepad.policy.alerts import Alerts
from jepad.records import Floats

_FIXTURE = os.path.join(os.path.dirname(__file__), "..", "tests", "fixtures", "traces")
_FLAP_S = 10.0
_FEW = 3  # recordings a group, for --quick
_ON_SHARE, _ALARMS_H = 0.01, 4.0  # what a tuned rule may spend of calm time
_NO_ENGINE = f"jepad-bench-{os.getpid()}"  # a shared memory prefix where no engine writes
#: Each series is forecast by itself; of these alone a risk is made.
_FORECAST = ("psi.memory.some.total", "psi.io.some.total")


_COLUMNS = ("warned", "lead s", "storms", "lead s", "false/h", "% of calm on")


def run(options: Options) -> Report:
    """Judge everyone on every recording there is; goals are met or not, that is no error."""
    report = Report()
    if not options.data:
        report.notes.append("no --data: judged on the small cut in tests/fixtures, no benchmark")
    found, skipped = recordings([options.data or _FIXTURE])
    report.notes += [f"skipped: {why}" for why in skipped]
    if options.quick:
        found = _briefly(found)
    groups: dict[str, list[Recording]] = {}
    for recording in found:
        groups.setdefault(recording.group, []).append(recording)
    for group, members in groups.items():
        _judge(report, group, members)
    if not found:
        report.notes.append("nothing to judge: no trace has PSI and MemFree")
    return report


def _judge(report: Report, group: str, members: Sequence[Recording]) -> None:
    rows = [seconds(one.trace) for one in members]
    shipped = tally([listen(one) for one in members])
    table: list[list[Cell]] = [["jepad", "as shipped", *_cells(shipped)]]
    for rule in RULES:
        scores = [rule.score(m.trace, r) for m, r in zip(members, rows, strict=True)]
        for limit, how in ((rule.limit, rule.setting), tuned(members, rows, scores)):
            judged = tally([_told(*one, limit) for one in zip(members, rows, scores, strict=True)])
            table.append([rule.name, how, *_cells(judged)])
    title = (
        f"{group}: {len(shipped.leads)} stalls in {int(shipped.first.sum())} storms, "
        f"{shipped.hours:.2f} h calm"
    )
    report.tables.append(Table(title, ["warner", "setting", *_COLUMNS], table))
    _goals(report, group, shipped)


def _cells(judged: Tally) -> list[Cell]:
    """As a row of a table."""
    begun = judged.leads[judged.first]
    early = begun[begun > 0]
    return [
        f"{int((judged.leads > 0).sum())}/{len(judged.leads)}",
        judged.lead(),
        f"{len(early)}/{len(begun)}",
        float(np.median(early)) if len(early) else None,
        judged.alarms_h(),
        100.0 * judged.on_share,
    ]


def _goals(report: Report, group: str, shipped: Tally) -> None:
    if len(shipped.leads):
        report.goals += [
            Goal(f"{group}: stalls warned of", shipped.recall(), ">=", 8 / 11),
            Goal(f"{group}: median lead, s", shipped.lead(), ">=", 20),
        ]
    report.goals.append(Goal(f"{group}: false alarms an hour", shipped.alarms_h(), "<=", 4))


def listen(recording: Recording) -> Told:
    """When a daemon's memory alert would have been on: every row through its own code."""
    trace, windows = recording.trace, Windows(recording.trace)
    outlook = Outlook(_NO_ENGINE, _FORECAST, trace.dt_s)
    settings = config.Risk()
    limits, alerts = risk.Limits(settings.horizon_s, settings.stall_share), Alerts(settings)
    on = np.zeros(len(trace.t_s), bool)
    forecast = None
    for row in range(len(on)):
        window = windows.at(row)
        if row % outlook.stride == 0:
            forecast = outlook.update(window)
        alerts.update(risk.assess(window, forecast, limits), int(window.t_ns[-1]))
        on[row] = "memory" in alerts.active
    return Told(recording, trace.t_s, on)


def _told(recording: Recording, rows: Rows, score: Floats, limit: float) -> Told:
    """A rule at a limit; short silences belong to the alarm around them."""
    t_s, on = recording.trace.t_s[rows], score >= limit
    at = np.flatnonzero(on)
    for a, b in itertools.pairwise(at):
        if t_s[b] - t_s[a] <= _FLAP_S:
            on[a:b] = True
    return Told(recording, t_s, on)


def tuned(
    members: Sequence[Recording], rows: Sequence[Rows], scores: Sequence[Floats]
) -> tuple[float, str]:
    """The limit that warns of most stalls within what may be spent of calm time, chosen on these
    very recordings: the rule at its luckiest."""
    calm = [s[m.calm(m.trace.t_s[r])] for m, r, s in zip(members, rows, scores, strict=True)]
    every = np.nan_to_num(np.concatenate(calm), nan=-np.inf)
    best, most = np.inf, -1.0
    seen = np.unique(np.quantile(every, np.linspace(1 - 2 * _ON_SHARE, 1, 21)))
    for limit in np.nextafter(seen, np.inf).tolist():
        judged = tally([_told(*one, limit) for one in zip(members, rows, scores, strict=True)])
        fits = judged.on_share <= _ON_SHARE and judged.alarms_h() <= _ALARMS_H
        warned = float((judged.leads > 0).sum())
        if fits and warned > most:
            best, most = limit, warned
    return best, f"tuned: {best:.3g}" if abs(best) > 1e-300 else "tuned: > 0"


def _briefly(found: Sequence[Recording]) -> list[Recording]:
    """The shortest few of each group, those with stalls first."""
    groups: dict[str, list[Recording]] = {}
    for one in sorted(found, key=lambda r: (not len(r.onsets), len(r.trace.t_s))):
        groups.setdefault(one.group, []).append(one)
    return [one for members in groups.values() for one in members[:_FEW]]

"""A recorded memory stall, replayed through ring, forecast, risk and alerts: warned, with cause."""

from pathlib import Path

import numpy as np
import pytest

from jepad import config
from jepad.engine.channels import PATTERNS
from jepad.errors import NotReady
from jepad.heads import risk
from jepad.outlook import Outlook
from jepad.policy.alerts import Alerts
from jepad.sources.replay import Replay, read_trace
from jepad.telemetry import Telemetry

TRACE = Path(__file__).parent / "fixtures" / "traces" / "memory_stall_1hz.csv.gz"


@pytest.fixture
def raised(prefix):
    """(row, risk) of every memory alert, by the baseline alone."""
    trace = read_trace(str(TRACE))
    telemetry = Telemetry(Replay(trace), prefix, config.Ring(telemetry_slots=256), 1.0)
    outlook, alerts = Outlook(prefix, PATTERNS, 1.0), Alerts(config.Risk())
    limits = risk.Limits(watermark_kib=80_000)
    told = []
    alerts.subscribe(lambda a: told.append((telemetry.head, a.risk)), lambda _: None)
    try:
        while True:
            telemetry.tick()
            window = telemetry.window(64)
            alerts.update(risk.assess(window, outlook.update(window), limits), int(window.t_ns[-1]))
    except NotReady:
        telemetry.retire()
    return [(row, r) for row, r in told if r.domain == "memory"]


def test_the_stall_is_warned_of_before_it_begins(raised):
    trace = read_trace(str(TRACE))
    names = [s.name for s in trace.series]
    stalled = np.diff(trace.values[:, names.index("psi.memory.some.total")]) / 1e6 > 0.05
    onset = int(np.argmax(stalled)) + 1
    rows = [row for row, _ in raised]
    assert any(onset - 60 <= row < onset for row in rows), (onset, rows)
    assert len([row for row in rows if row < onset - 60]) <= 1
    assert all(r.cause and r.evidence for _, r in raised)


def test_the_warning_names_the_series_that_foretell_it(raised):
    _, first = raised[0]
    assert "MemFree" in first.cause
    assert any(name.startswith("mem.MemFree") for name in first.evidence)

"""The stall bench from made recordings to its report."""

import numpy as np

from bench import stall
from bench.report import Options
from jepad.learn.stall_onsets import mark
from jepad.sources.naming import named
from jepad.sources.record import TraceWriter
from jepad.sources.traces import Trace

MIB = 1024.0


def hog(n=420, at=300):
    """10 GiB; programs take what is free within 40 s, and the machine stalls."""
    t_s = np.arange(float(n))
    free = np.interp(t_s, [0, at - 40, at, at + 10, at + 20], [5000, 5000, 100, 100, 5000])
    psi = np.cumsum(np.where((t_s >= at) & (t_s < at + 8), 0.4e6, 0.0))
    table = {
        "mem.MemTotal": np.full(n, 10_000 * MIB),
        "mem.MemFree": free * MIB,
        "mem.MemAvailable": (free + 1_000) * MIB,
        "psi.memory.some.total": psi,
    }
    series = tuple(map(named, table))
    return Trace(series, t_s, np.stack([*table.values()], axis=1), 1.0, "hog", "hog")


def test_the_daemons_own_code_warns_before_the_stall():
    recording = mark(hog(), "hog")
    told = stall.tally([stall.listen(recording)])
    assert told.recall() == 1.0
    assert told.lead() >= 3
    assert told.false == 0


def test_a_tuned_limit_stays_within_what_may_be_spent():
    recording = mark(hog(), "hog")
    rows = stall.seconds(recording.trace)
    score = np.where(abs(np.arange(420) - 290) < 10, 5.0, 1.0)
    limit, how = stall.tuned([recording], [rows], [score])
    assert 1.0 < limit <= 5.0
    assert how.startswith("tuned")


def test_a_report_of_every_warner(tmp_path):
    made = hog()
    writer = TraceWriter(str(tmp_path / "hog.csv.gz"), made.series)
    for t_s, values in zip(made.t_s, made.values, strict=True):
        writer.append(float(t_s), values)
    writer.close()
    (tmp_path / "other.npz").write_bytes(b"")
    report = stall.run(Options(quick=True, data=str(tmp_path)))
    told = report.to_json("stall")
    assert [row[0] for row in told["tables"][0]["rows"]][:2] == [
        "jepad",
        "MemFree time to watermark",
    ]
    assert any("other.npz" in note for note in told["notes"])
    goals = {goal["what"]: goal["met"] for goal in told["goals"]}
    assert goals["hog: stalls warned of"] is True
    assert "1 stalls in 1 storms" in told["tables"][0]["title"]

"""The GPU bench where there is none, and its every part on a CPU with tiny shapes."""

from dataclasses import replace

import pytest
import torch

from bench import gpu
from bench.interleaved import wall_time
from bench.report import Options
from jepad.jepa.video.shape import ActionShape
from jepad.planning.cem import Settings
from jepad.scene.capture import Recorded, Repeats
from jepad.vision.grid import Grid


def _record(work, inputs):
    outputs = work(*inputs)
    return Recorded(lambda: work(*inputs), inputs, outputs)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(gpu, "ceiling", lambda bench: 1e11)
    with torch.no_grad():
        yield gpu.Bench(torch.device("cpu"), wall_time, 2, lambda: Repeats(_record))


TINY = replace(gpu.L16.shape, width=48, depth=2, heads=2, hidden=96, size=32, frames=4)
ACTION = ActionShape(
    width=24, depth=1, heads=2, hidden=24, source=48, grid=Grid(1, 2, 2), layout="tiled"
)


def test_without_a_gpu_it_says_so_and_every_goal_is_null(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    report = gpu.run(Options()).to_json("gpu")
    assert len(report["goals"]) == 6
    assert all(goal["met"] is None and "no CUDA" in goal["note"] for goal in report["goals"])
    assert report["tables"] == []


def test_every_case_gives_a_row_beside_its_peer(bench):
    cases = tuple(replace(case, shape=TINY, batch=min(case.batch, 2)) for case in gpu.CASES)
    report = gpu.measured(bench, cases, (ACTION, Settings(samples=6, elites=2, iterations=2)))
    rows = {row[0]: dict(zip(report.tables[0].columns, row, strict=True))
            for row in report.tables[0].rows}  # fmt: skip
    assert list(rows) == [case.name for case in gpu.CASES]
    for case in cases:
        row = rows[case.name]
        assert row["tokens"] == 8
        assert (row["transformers ms"] is None) == (case.precision != "bf16")
        assert row["share of ceiling"] == pytest.approx(row["TFLOP/s"] / 0.1)
    assert all(goal.value is not None for goal in report.goals)


def test_what_is_timed_is_what_the_model_says(bench):
    case = replace(gpu.L16, shape=TINY)
    video = gpu._video(case, bench.device)
    torch.manual_seed(0)
    call = gpu.ours(case, video, bench.record())
    torch.manual_seed(0)
    plain = gpu.ours(case, video, Repeats())
    assert torch.equal(call()[0], plain()[0])
    assert call()[0].shape == (1, 8, 48)


def test_flop_counts():
    assert gpu.flop(gpu.L16.shape) / 1e9 == pytest.approx(1656, rel=0.005)
    assert gpu.flop(gpu.G64.shape) / 1e9 == pytest.approx(113821, rel=0.005)


def test_the_ceiling_is_of_one_product():
    bench = gpu.Bench(torch.device("cpu"), lambda call: (call(), 0.5)[1], 1, Repeats)
    assert gpu.ceiling(bench, 4) == 2 * 4**3 / 0.5

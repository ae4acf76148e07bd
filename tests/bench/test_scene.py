"""The parts of the CPU bench on tiny shapes: what is compared, not how long it took."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import clips, scene, scene_planner, scene_streams, scene_toy
from jepad.planning.cem import Settings
from tests.scene import small

TINY = replace(clips.SMALL, width=48, depth=2, heads=2, hidden=96, size=64, frames=4)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_an_encoder_is_the_same_on_every_engine(tmp_path):
    found = scene.sized("tiny", TINY, str(tmp_path), 2)
    assert found.gap < 1e-5
    assert found.accuracy.pooled > 0.999
    assert found.accuracy.worst > 0.99
    assert set(found.times.seconds) == {
        scene.INT8, f"{scene.INT8}, 25 %", scene.ORT, f"{scene.ORT}, 25 %", scene.TORCH,
        scene.BF16,
    }  # fmt: skip
    assert all(len(each) == 2 for each in found.times.seconds.values())
    table = scene._table([found])
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert [goal.limit for goal in scene._speeds(found)] == [1.7, 3, 3, 3]
    assert 0.2 < scene._sizes(str(tmp_path))[0].value < 1


def test_kept_tokens_are_a_share_of_them():
    keep = clips.kept(clips.SMALL, 0.25)
    assert len(np.unique(keep)) == 64
    assert (np.diff(keep) > 0).all()
    assert clips.turning(clips.SMALL, keep)[0].shape == (1, 64, 64)


def test_the_cpu_has_a_name():
    assert scene.processor().strip()


def test_a_planner_chooses_the_same_in_any_batch(tmp_path):
    installed = scene_planner._installed(str(tmp_path))
    energy = scene_planner.asked(scene_planner.onnx.load(installed, "fp32", 1))
    found = scene_planner.alike(energy, Settings(samples=12, elites=3, iterations=2))
    assert (found.iterations, found.same) == (2, 2)
    assert found.share == 1.0
    assert found.apart < 1e-6
    spread = energy(scene_planner.Planner(scene_planner.TOY, Settings(samples=12)).ask())
    assert np.ptp(spread) > 1e-4  # they are choices, not ties
    assert set(scene_planner.timed(energy, (2, 4), 1).seconds) == {"2", "4"}


def test_growth_is_the_exponent():
    assert scene_planner.growth({1: 3.0, 2: 6.0, 4: 12.0}) == pytest.approx(1)
    assert scene_planner.growth({1: 3.0, 2: 12.0, 4: 48.0}) == pytest.approx(2)


def test_without_the_shipped_checkpoint_its_goal_is_null(monkeypatch, tmp_path):
    monkeypatch.setattr(scene_toy.library, "shipped", lambda: str(tmp_path))
    goal, table = scene_toy.measured(str(tmp_path))
    assert goal.met is None
    assert "no model 'toy'" in goal.note
    assert table is None


def test_the_shipped_checkpoint_is_rounded_and_compared(monkeypatch, tmp_path):
    monkeypatch.setattr(scene_toy.library, "find", lambda *_: small.installed("2-ac"))
    goal, table = scene_toy.measured(str(tmp_path))
    assert goal.value > 0.99
    assert table.rows[0][:2] == [32, 32 * 16]


def test_skipping_is_reported_with_its_error(tmp_path):
    backend = scene_streams.onnx.load(scene_streams.installed(str(tmp_path), TINY), "int8", 1)
    context, share, faster, pooled, worst, relative = scene_streams.row(backend, TINY, 0.0, 4)
    assert context == 0
    assert 0 < share < 0.9
    assert faster > 0
    assert worst <= pooled < 1
    assert relative > 0
    moving = list(scene_streams.windows(TINY, 2))
    assert moving[0].shape == (4, 64, 64, 3)
    assert np.array_equal(moving[0][2:], moving[1][:2])  # it slides by a tubelet

"""A twin measures the action it has not, on one clock, from where both were."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.heads.prepare import CONTEXT
from jepad.learn.gym.episodes import Applied, read_manifest
from jepad.learn.twins import REACH, events, measured
from tests.learn import machine


@pytest.fixture(scope="module")
def gym(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gym")
    machine.write(directory, range(4))
    return str(directory)


def test_every_action_of_a_twinned_episode_is_an_event(gym):
    found = list(events(gym, read_manifest(gym)))
    assert [e.action.kind for e in found] == list(machine.KINDS)
    assert all(e.acted.shape == e.idle.shape == (len(e.names), CONTEXT + REACH) for e in found)


def test_before_the_action_a_deterministic_twin_is_the_same(gym):
    for event in events(gym, read_manifest(gym)):
        np.testing.assert_allclose(event.acted[:, :CONTEXT], event.idle[:, :CONTEXT])


def test_effects_are_those_of_the_machine(gym):
    freeze, limit, *_ = events(gym, read_manifest(gym))
    at = freeze.names.index("cgroup.gym/a.cpu_usage")
    assert (freeze.effect[at] < -1e5).all()
    assert freeze.acted[at, CONTEXT] == 0  # the first row after it
    assert freeze.acted[at, CONTEXT - 1] > 1e5  # the last before
    at = limit.names.index("cgroup.gym/a.memory_current")
    assert limit.acted[at, CONTEXT + 63] == 40 * machine.MIB


def test_what_lies_beyond_the_trace_or_the_next_action_is_unknown(gym):
    episodes = read_manifest(gym)
    (event,) = events(gym, episodes[:2])
    assert not np.isfinite(event.acted[:, CONTEXT + 70 :]).any()
    later = Applied(60.0, "thaw", "gym/a", 0.0, undo=True)
    whole = episodes[1]
    cut = type(whole)(
        **{s: getattr(whole, s) for s in whole.__slots__ if s != "actions"},
        actions=(*whole.actions, later),
    )
    (event,) = events(gym, [episodes[0], cut])
    known = np.isfinite(event.effect).all(0)
    assert known.tolist() == [True, True, True, False]


def test_actions_in_the_wake_of_others_are_left_out():
    def episode(*actions):
        return type("E", (), {"actions": actions})

    freeze = Applied(10.0, "freeze", "a", 0.0)
    thaw = Applied(70.0, "thaw", "a", 0.0, undo=True)
    weight = Applied(80.0, "cpu.weight", "a", 10.0)
    drop = Applied(90.0, "drop_caches", "", 0.0)
    assert measured(episode(freeze, thaw, weight), episode()) == [(freeze, 70.0), (weight, np.inf)]
    assert measured(episode(freeze, weight), episode()) == [(freeze, 80.0)]
    assert measured(episode(drop, weight), episode()) == [(weight, 90.0)]
    cool = Applied(85.0, "cpu.weight", "a", 100.0, undo=True)
    assert measured(episode(weight, cool, drop), episode())[1] == (drop, np.inf)
    assert measured(episode(freeze, weight), episode(freeze)) == [(weight, np.inf)]


def test_a_coarser_pace_skips_rows_of_a_finer_trace(tmp_path):
    machine.write(tmp_path, [0], hz=5.0)
    coarse, fine = events(str(tmp_path), read_manifest(str(tmp_path)), (1.0, 0.2))
    assert (coarse.dt_s, fine.dt_s) == pytest.approx((1.0, 0.2))
    at = coarse.names.index("cgroup.gym/a.cpu_usage")
    assert coarse.effect[at, 0] == pytest.approx(fine.effect[at, 1], rel=0.3)
    assert not list(events(str(tmp_path), read_manifest(str(tmp_path)), (0.01,)))


def test_an_empty_trace_is_named(tmp_path):
    machine.write(tmp_path, [0])
    with open(tmp_path / "made-0.csv.gz", "wb"):
        pass
    with pytest.raises(SettingError, match=r"made-0\.csv\.gz"):
        list(events(str(tmp_path), read_manifest(str(tmp_path))))

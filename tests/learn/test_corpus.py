"""The split, the paces, the scales."""

import numpy as np

from jepad.heads.prepare import HORIZONS
from jepad.learn import dataset
from jepad.learn.corpus import OWN_SHARE, TRAIN_SHARE, cut, decimated, held_out
from jepad.learn.traces import Trace


def noise(t=1000, c=3, source="x", host="h", dt=60.0):
    values = np.random.default_rng(0).normal(size=(t, c)).astype(np.float32)
    return Trace(source, host, dt, values)


def test_every_fifth_host_from_the_third_is_held_out():
    found = [noise(t=10, host=f"h{i}") for i in range(9)]
    assert held_out(found) == {"x:h2", "x:h7"}
    assert held_out([noise(source="host_1hz")] * 3) == frozenset()


def test_held_out_hosts_never_train_and_others_never_validate():
    found = [noise(host=f"h{i}") for i in range(6)]
    assert {c.key for c in dataset.validation(found)} == {"x:h2"}
    assert {c.key for c in dataset.training(found)} == {f"x:h{i}" for i in (0, 1, 3, 4, 5)}


def test_a_lone_host_is_split_by_time():
    assert [c.key for c in dataset.validation([noise()])] == ["x:h"]


def test_training_ends_before_the_end():
    assert cut(noise()).end == int(1000 * TRAIN_SHARE)
    assert cut(noise(source="vm_memstall")).end == int(1000 * OWN_SHARE)


def test_short_and_still_traces_are_left_out():
    assert cut(noise(t=100)) is None
    still = noise()
    still.values[:] = 3
    assert cut(still) is None


def test_only_moving_channels_stay():
    trace = noise()
    trace.values[:, 1] = 0
    assert cut(trace).channels == (0, 2)


def test_decimation_by_mean_and_by_choice():
    trace = Trace("x", "h", 1.0, np.arange(7, dtype=np.float32)[:, None])
    assert decimated(trace, 3, mean=True).values[:, 0].tolist() == [1, 4]
    assert decimated(trace, 3, mean=False).values[:, 0].tolist() == [2, 5]
    assert decimated(trace, 3, mean=True).dt_s == 3.0


def test_history_is_of_the_past_alone(smd):
    for i in (8, 16):
        seen = smd.values[: smd.seen * i // 32]
        np.testing.assert_allclose(smd.past[i, 0], seen.mean(0), atol=0.05)
    assert np.isnan(smd.past[0]).all()


def test_the_unit_of_the_loss_is_at_most_persistence(smd):
    head = smd.values[: smd.end]
    for i, h in enumerate(HORIZONS):
        persistence = np.abs(head[h:] - head[:-h]).mean(0)
        assert (smd.best[:, i] <= persistence * 1.001 + 1e-8).all()


def test_later_time_changes_nothing_that_training_reads():
    one, other = noise(), noise()
    other.values[800:] = 1e6
    a, b = cut(one), cut(other)
    np.testing.assert_array_equal(a.best, b.best)
    np.testing.assert_array_equal(a.past[:25], b.past[:25])

"""Anomaly figures: labelled hosts in, tables and ratios out."""

import numpy as np
import pytest

from bench import anomaly


@pytest.fixture
def data(tmp_path):
    """Three hosts, the third of which is held out; two events in its second half."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name in ("a", "b", "c"):
        load = 50 + 20 * np.sin(np.arange(1400) / 30) + rng.normal(size=1400)
        values = np.stack([load, 3 * load + rng.normal(size=1400), rng.normal(size=1400)], 1)
        label = np.zeros(600, np.uint8)
        for first in (200, 450):
            label[first : first + 20] = 1
            values[800 + first : 820 + first, 1:] *= -5
        arrays |= {f"{name}_train": values[:800], f"{name}_test": values[800:]}
        arrays[f"{name}_label"] = label
    np.savez(tmp_path / "toy.npz", **arrays)
    return str(tmp_path)


def persistence(feeds):
    """No change, in every horizon; latents that never move."""
    batch, channels = feeds["x"].shape[:2]
    quantiles = np.zeros((batch, channels, 4, 3), np.float32) + np.array([-1, 0, 1], np.float32)
    return {
        "quantiles": quantiles,
        "p_rise": np.zeros((batch, channels, 4), np.float32),
        "z": np.ones((batch, 8), np.float32),
        "z_hat": np.ones((batch, 4, 8), np.float32),
    }


def test_only_held_out_hosts_are_scored(data):
    (host,) = anomaly.labelled(data, quick=False)
    assert host.half == 800
    assert host.label.sum() == 40
    assert host.stretches.max() < 800


def test_an_obvious_anomaly_is_found(data):
    (host,) = anomaly.labelled(data, quick=False)
    said = anomaly.ask(persistence, host)
    assert np.isnan(said.missed[:100]).all()
    late = said.missed[host.half :]
    assert np.allclose(late[16, 0], host.values[816] - host.values[815], atol=1e-3)
    score = anomaly.judged(host, said, "jepad")["jepad"]
    caught, false, quiet = anomaly.alarms(score >= 5, host)
    assert caught == 1
    assert false < 20
    assert quiet < 0.1
    assert anomaly.event_recall(score, host) == 1


def test_tables_and_goals(data, monkeypatch):
    monkeypatch.setattr(anomaly, "untrained", lambda seed: persistence)
    tables, goals, _ = anomaly.figures({"jepad": persistence}, data, quick=True)
    names = [row[0] for row in tables[0].rows]
    assert {"random", "k-means", "PCA", "VAR", "k-means + PCA + VAR", "jepad"} <= set(names)
    by_name = {row[0]: row[2] for row in tables[0].rows}
    assert by_name["jepad"] > by_name["random"]
    assert [g.limit for g in goals] == [1.05, 1.02]
    assert goals[1].value == pytest.approx(1)


def test_the_control_is_the_network_untrained(data):
    (host,) = anomaly.labelled(data, quick=False)
    first, again = (anomaly.untrained(0), anomaly.untrained(0))
    host.stretches.resize((1, 32))
    said, same = (anomaly.ask(graph, host) for graph in (first, again))
    assert np.array_equal(said.missed, same.missed, equal_nan=True)


def test_data_without_labels(tmp_path):
    np.savez(tmp_path / "plain.npz", a_train=np.zeros((9, 2)), a_test=np.zeros((9, 2)))
    tables, goals, _ = anomaly.figures({}, str(tmp_path), quick=True)
    assert not tables
    assert all(g.value is None for g in goals)

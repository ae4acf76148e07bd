"""A scene engine of one's own in a blocking program."""

import os
import tempfile
import time

import numpy as np
import pytest

from jepad.errors import ModelError, NotFound
from jepad.planning import toy
from jepad.scene import wire
from jepad.scene.client import Quest
from jepad.scene.private import Private, private


def test_everything_without_await(model, state, clip):
    model("vitg-256-ac")
    with private("vitg-256-ac", Private(state=str(state), device="cpu")) as client:
        said = client.describe()
        assert said.model == "vitg-256-ac"
        found = client.embed(clip(2))
        assert found.grid[0] == 2
        assert client.predict_action(clip(1), [0.0] * 7, np.zeros((1, 7))).values.shape[0] == 1
        search = wire.Search(samples=4, elites=2, iterations=1, horizon=1)
        job = client.plan_start(Quest(clip(1), clip(1, 3), [0.0] * 7, search=search))
        while client.plan_status(job).state != "done":
            pass
        assert client.cancel(job).result.energy > 0
        with pytest.raises(NotFound):
            client.predict_temporal(clip(2))


def test_why_it_does_not_start(model, state, tmp_path, prefix, monkeypatch):
    model()
    home = f"/tmp/{prefix}"  # tmp_path may be too long for a socket
    os.mkdir(home)
    monkeypatch.setattr(tempfile, "tempdir", home)
    how = Private(state=str(state), device="cpu")
    with pytest.raises(Exception, match="no model 'nothing' is installed"), private("nothing", how):
        pass
    with pytest.raises(ModelError), private(str(tmp_path), how):
        pass
    os.rmdir(home)  # nothing is left in it


def test_the_shipped_toy_reaches_its_goal():
    at, goal = np.array([-0.6, 0.4], np.float32), np.array([0.6, -0.5], np.float32)
    search = wire.Search(samples=64, elites=8, iterations=6, horizon=1)
    with private("toy", Private(device="cpu")) as client:
        for _ in range(12):
            told = [float(x) for x in at]
            quest = Quest(toy.render(at)[None], toy.render(goal)[None], told, search=search)
            job = client.plan_start(quest)
            while (said := client.plan_status(job)).state in ("waiting", "running"):
                time.sleep(0.01)
            assert said.state == "done", said.error
            at = toy.step(at, np.array(said.result.action, np.float32))
            if toy.distance(at, goal) <= toy.ARRIVED:
                return
    pytest.fail(f"it ended at {at}")

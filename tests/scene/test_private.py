"""A scene engine of one's own in a blocking program."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import psutil
import pytest

from jepad.errors import EngineError, Late, ModelError, NotFound
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


def test_classes_and_pictures(model, state, clip):
    model("vitl-256-probe")
    with private("vitl-256-probe", Private(state=str(state), device="cpu")) as client:
        said = client.describe()
        assert (said.classes, said.image, "probe" in said.parts) == (5, False, True)
        found = client.embed(clip(4), classes=3)
        assert len(found.classes) == len(found.probabilities) == 3
        assert 0 < sum(found.probabilities) <= 1
        assert client.embed(clip(4)).classes == ()


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


def test_its_end_ends_what_it_was_asked(model, state, clip):
    model()
    with private("vitl-256", Private(state=str(state), device="cpu")) as client:
        (child,) = psutil.Process().children()
        child.suspend()
        threading.Timer(0.5, child.kill).start()
        begun = time.monotonic()
        with pytest.raises(EngineError, match="the engine ended: killed by signal 9"):
            client.embed(clip(2), timeout=600)
        with pytest.raises(EngineError, match="the engine ended"):
            client.embed(clip(2), timeout=600)
        assert time.monotonic() - begun < 300


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


SERVES = """
import sys, tempfile
tempfile.tempdir = {home!r}
from jepad.scene.private import Private, private
with private("toy", Private(device="cpu")) as client:
    print("there", flush=True)
    client.embed.__self__._run(lambda _: __import__("asyncio").sleep(600))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(prefix, number):
    home = f"/tmp/{prefix}"  # tmp_path may be too long for a socket
    os.mkdir(home)
    command = [sys.executable, "-c", SERVES.format(home=home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"there\n"
        (engine,) = psutil.Process(program.pid).children()
        assert os.getpgid(engine.pid) == engine.pid  # Ctrl-C is not for it
        program.send_signal(number)
        code = program.wait(60)
    assert code == (-number if number is signal.SIGINT else 128 + number)
    assert not engine.is_running()
    os.rmdir(home)


def test_whoever_handles_signals_goes_on_to():
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        ours = signal.getsignal(signal.SIGTERM)
        with private("toy", Private(device="cpu")):
            assert signal.getsignal(signal.SIGTERM) is ours
            assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_who_cancels_a_stopped_engine_waits_for_nothing():
    with private("toy", Private(device="cpu")) as client:
        (child,) = psutil.Process().children()
        child.suspend()
        with pytest.raises(Late, match=r"within 0\.5 s"):
            client.cancel("0-ffff")
        child.resume()

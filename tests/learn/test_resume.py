"""A training killed and resumed ends as one that never was; a wrong checkpoint is refused."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from jepad.errors import ModelError, SettingError
from jepad.jepa.config import Shape
from jepad.learn import dataset, train
from tests.learn.conftest import TRACES

TRACE = os.path.join(TRACES, "memory_stall_1hz.csv.gz")
SMALL = Shape(width=32, heads=2, time_blocks=1, predictor_blocks=1)
STEPS = 8
#: Trains in a process of its own: argv is --out, whether to resume, a pause after each save.
PROGRAM = f"""
import sys, time
from dataclasses import replace
import torch
from jepad.jepa.config import Shape
from jepad.jepa.trainer import Trainer
from jepad.learn import corpus, traces, train

class Paused(Trainer):
    def save(self, path, beside=""):
        super().save(path, beside)
        time.sleep(float(sys.argv[3]))

train.Trainer = Paused
torch.set_num_threads(1)
(trace,) = traces.read({TRACE!r})
cuts = [corpus.cut(replace(trace, values=trace.values[:, 40:60]))]
shape = Shape(width=32, heads=2, time_blocks=1, predictor_blocks=1)
plan = train.Plan(["x"], sys.argv[1], {STEPS}, 5, sys.argv[2] == "resume", save_every=1)
train.train(plan, cuts, shape)
"""


def begun(out, *, resume, pause=0.0):
    argv = [sys.executable, "-c", PROGRAM, str(out), "resume" if resume else "", str(pause)]
    return subprocess.Popen(argv, stderr=subprocess.DEVNULL)


def state(out):
    return torch.load(out / train.CHECKPOINT, weights_only=True)


def same(a, b):
    """Equal to the last bit, all the way down."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    assert begun(out, resume=False).wait(300) == 0
    return out


def killed_after(out, step, *, resume):
    """Train until at least `step` steps are saved, and kill."""
    process = begun(out, resume=resume, pause=0.3)
    end = time.monotonic() + 300
    while not (out / train.CHECKPOINT).exists() or state(out)["step"] < step:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL


def test_killed_twice_and_resumed_equals_unbroken(unbroken, tmp_path):
    killed_after(tmp_path, 2, resume=False)
    assert 2 <= state(tmp_path)["step"] < STEPS
    killed_after(tmp_path, 4, resume=True)
    assert 4 <= state(tmp_path)["step"] < STEPS
    # As a kill while writing leaves it.
    (tmp_path / f"{train.CHECKPOINT}.part").write_bytes(b"half")
    assert begun(tmp_path, resume=True).wait(300) == 0
    whole, resumed = state(unbroken), state(tmp_path)
    assert whole["step"] == STEPS
    assert same(whole, resumed)


def resume(out, cuts, shape=SMALL, **changes):
    given = {"data": ["x"], "out": str(out), "steps": STEPS, "seed": 5, "resume": True} | changes
    return train.train(train.Plan(**given), cuts, shape)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"seed": 6}, "seed 5 .asked: 6"), ({"steps": 9}, "steps 8 .asked: 9")],
)
def test_another_training_s_checkpoint_is_refused(unbroken, cuts, changes, says):
    with pytest.raises(SettingError, match=f"{train.CHECKPOINT}: .*{says}"):
        resume(unbroken, cuts, **changes)


def test_another_shape_s_checkpoint_is_refused(unbroken, cuts):
    with pytest.raises(SettingError, match=r"width 32 .asked: 64"):
        resume(unbroken, cuts, Shape(width=64, heads=2, time_blocks=1, predictor_blocks=1))


def test_another_data_s_checkpoint_is_refused(unbroken, cuts):
    with pytest.raises(SettingError, match="other data"):
        resume(unbroken, cuts[1:])


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.999])
def test_a_damaged_checkpoint_is_refused(unbroken, cuts, tmp_path, place):
    data = (unbroken / train.CHECKPOINT).read_bytes()
    at = int(len(data) * place)
    for bad in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
        (tmp_path / train.CHECKPOINT).write_bytes(bad)
        with pytest.raises(ModelError, match=f"{train.CHECKPOINT}.*--resume"):
            resume(tmp_path, cuts)


def test_a_foreign_file_is_refused(cuts, tmp_path):
    torch.save({"model": {}}, tmp_path / train.CHECKPOINT)
    with pytest.raises(ModelError, match="no checkpoint of this training"):
        resume(tmp_path, cuts)
    torch.save({"model": os.getcwd}, tmp_path / train.CHECKPOINT)  # code does not run
    with pytest.raises(ModelError, match="--resume"):
        resume(tmp_path, cuts)


def test_fingerprints_tell_data_apart(cuts):
    assert dataset.fingerprint(cuts) == dataset.fingerprint(cuts)
    assert dataset.fingerprint(cuts) != dataset.fingerprint(cuts[::-1])

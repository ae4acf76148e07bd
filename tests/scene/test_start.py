"""Which device carries the model: at the start, with too little memory, after a loss."""

import argparse
import sys
from types import ModuleType

import pytest

from jepad.errors import SettingError, TooLarge
from jepad.scene import start
from jepad.scene.placement import Device, cpu

from .fakes import Counting

GB = 10**9


@pytest.fixture
def gpus(monkeypatch):
    """gpus({name: free}): fake GPUs; what was loaded where."""
    loaded = []

    def load(installed, device, precision, threads):
        loaded.append((device, precision))
        return Counting(device)

    def pretend(free):
        fake = ModuleType("jepad.scene.cuda")
        fake.devices = lambda: [Device(n, f, 24 * GB) for n, f in free.items()]
        fake.load = load
        monkeypatch.setitem(sys.modules, "jepad.scene.cuda", fake)
        monkeypatch.setattr("jepad.scene.cuda", fake, raising=False)
        monkeypatch.setattr(start, "GPUS", "/dev/null")
        return loaded

    return pretend


def flags(**fields):
    return argparse.Namespace(
        **{"device": "auto", "precision": "", "memory_max": 0, "threads": 1} | fields
    )


def test_most_free_memory(gpus, model):
    loaded = gpus({"cuda:0": 4 * GB, "cuda:1": 9 * GB})
    assert start._load(flags(), model(), ()).device == "cuda:1"
    assert start._load(flags(precision="int8"), model(), ("cuda:1",)).device == "cuda:0"
    assert loaded == [("cuda:1", "bf16"), ("cuda:0", "int8")]


def test_the_cpu_when_all_are_lost_or_full(gpus, model):
    gpus({"cuda:0": 4 * GB})
    assert start._load(flags(), model(), ("cuda:0",)).device == "cpu"
    assert start._load(flags(device="cuda:0"), model(), ("cuda:0",)).device == "cpu"
    gpus({"cuda:0": 1000})
    assert start._load(flags(), model(), ()).precision == "fp32"


def test_one_that_is_named(gpus, model):
    gpus({"cuda:0": 1000, "cuda:1": 9 * GB})
    with pytest.raises(TooLarge, match="cuda:0 has 0 MB free"):
        start._load(flags(device="cuda:0"), model(), ())
    with pytest.raises(SettingError):
        start._load(flags(device="cuda:5"), model(), ())
    assert start._load(flags(device="cpu"), model(), ()).device == "cpu"


def test_the_limit_counts_wherever(gpus, model):
    gpus({"cuda:1": 9 * GB})
    with pytest.raises(TooLarge, match=r"model vitl-256 on cuda:1 needs .* the limit is"):
        start._load(flags(memory_max=1000), model(), ())


def test_a_precision_that_is_not_there_is_refused_unless_a_device_was_lost(gpus, model):
    loaded = gpus({"cuda:0": 9 * GB})
    with pytest.raises(SettingError, match=r"'int8' is not in model vitl-256 .* are: fp32\)"):
        start._load(flags(device="cpu", precision="int8"), model(), ())
    assert start._load(flags(precision="int8"), model(), ("cuda:0",)).precision == "fp32"
    start._load(flags(precision="int8"), model(), ())
    assert loaded == [("cuda:0", "int8")]


def test_without_a_gpu_torch_is_not_asked(monkeypatch):
    monkeypatch.setattr(start, "GPUS", "/nowhere/nvidia*")
    monkeypatch.setitem(sys.modules, "jepad.scene.cuda", None)
    assert [d.name for d in start._devices("auto")] == [cpu().name]

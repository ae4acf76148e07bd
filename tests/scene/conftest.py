"""Tiny installed models, and scene engines as processes of their own."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from jepad.models import library
from jepad.paths import Places

from .made import install

PATIENCE_S = 60


def until(check, patience_s=PATIENCE_S):
    """What `check` returns once it is true; how long that takes is not the matter."""
    end = time.monotonic() + patience_s
    while not (found := check()):
        assert time.monotonic() < end, f"still waiting for {check}"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def state(tmp_path_factory):
    """A state directory with a library."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def model(state):
    """model(preset, …): a tiny random model, made once."""
    known = {}

    def find(preset="vitl-256", precisions=("fp32",)):
        if preset not in known:
            known[preset] = install(library.library(str(state)), preset, precisions)
        return known[preset]

    return find


@pytest.fixture
def places(prefix, state):
    runtime = f"/tmp/{prefix}"  # tmp_path may be too long for a socket
    yield Places(runtime, str(state), "", prefix)
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def clip():
    """clip(frames, seed): uint8 [T, H, W, 3] of a size that has to be cut."""

    def frames(count=4, seed=0, size=(70, 90)):
        return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)

    return frames


@pytest.fixture
def engine(places):
    """engine(model, *flags) starts one; all are gone afterwards."""
    started = []

    def start(name, *flags):
        command = [sys.executable, "-m", "jepad.scene", "--runtime", places.runtime]
        command += ["--prefix", places.shm_prefix, "--state", places.state, "--device", "cpu"]
        child = subprocess.Popen(
            [*command, "--model", name, *flags], stderr=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stderr.close()

"""The small real cuts that ship with the tests, as traces and cuts."""

from pathlib import Path

import pytest
import torch

from jepad.learn import dataset
from jepad.learn.corpus import cut
from jepad.learn.traces import read_all

TRACES = str(Path(__file__).parents[1] / "fixtures" / "traces")


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors on a shared machine: threads would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def traces():
    return read_all(TRACES)


@pytest.fixture(scope="session")
def smd(traces):
    return cut(next(t for t in traces if t.source == "smd_cut"))


@pytest.fixture(scope="session")
def cuts(traces):
    return dataset.training(traces)

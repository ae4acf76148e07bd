"""Small random checkpoints in every published format, and the modules they stand for."""

import pytest
import torch

from jepad.learn.video import fakes, parts


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def made():
    """A part's shape and its torch module with random weights."""

    def build(preset, part):
        shape = fakes.shapes(preset, tiny=True, probe=part == "probe")[part]
        state = dict(fakes.tensors(shape, 3))
        return shape, parts.filled(shape, state.__getitem__)

    return build


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Name to the path of a tiny checkpoint, written once."""
    root = tmp_path_factory.mktemp("checkpoints")
    known = {}

    def path(name):
        if name not in known:
            preset, form = name.split("/")
            table = fakes.shapes(preset, tiny=True, probe=form == "hf-classifier")
            target = str(root / f"{preset}-{form}") + (".pt" if form == "meta" else "")
            (fakes.meta if form == "meta" else fakes.hugging_face)(target, table)
            known[name] = target
        return known[name]

    return path

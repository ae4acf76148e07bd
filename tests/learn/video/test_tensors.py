"""The file written tensor by tensor is the file that safetensors writes."""

import pytest
import torch
from safetensors.torch import load_file

from jepad.errors import ModelError
from jepad.learn.video.tensors import Entry, TensorFile

STATE = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([1.5, -2], dtype=torch.bfloat16),
    "c": torch.zeros(0, 4, dtype=torch.float16),
    "d": torch.tensor(7),
    "e": torch.arange(12.0).reshape(3, 4).T,
}


def entries():
    return {name: Entry(t.dtype, tuple(t.shape)) for name, t in STATE.items()}


def test_it_reads_back(tmp_path):
    path = str(tmp_path / "x.safetensors")
    with TensorFile(path, entries(), {"format": "pt"}) as file:
        for name, tensor in STATE.items():
            file.add(name, tensor)
    found = load_file(path)
    assert found.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("name", ["b", "unknown"])
def test_only_the_tensor_announced_is_taken(tmp_path, name):
    file = TensorFile(str(tmp_path / "x"), entries())
    with pytest.raises(ModelError, match=r"a\.weight"):
        file.add(name, STATE["b"])
    with pytest.raises(ModelError, match=r"a\.weight"):
        file.add("a.weight", STATE["a.weight"].half())
    with pytest.raises(ModelError, match=r"a\.weight was never written"):
        file.__exit__(None, None, None)

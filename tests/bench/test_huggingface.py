"""`transformers` beside ours with the same weights: equal; our faults are seen beside it."""

import pytest
import torch
from transformers import VJEPA2Config, VJEPA2Model

from bench import huggingface
from jepad.errors import ModelError
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.predictor import MaskPredictor
from jepad.jepa.video.shape import PRESETS
from jepad.learn.video import keys


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def test_peers_are_equal():
    chosen = huggingface.PEERS[:3]
    rows = list(huggingface.peers(chosen))
    assert len(rows) == 6 * len(chosen)
    assert [row for row in rows if not row.ok] == []


@pytest.mark.parametrize("name", ["vitl-256", "vith-256", "vitg-256", "vitg-384"])
def test_published_sizes_have_the_same_tensors(name):
    """All names and shapes of a model as it is published, without memory for its weights."""
    preset = PRESETS[name]
    encoder, predictor = preset.encoder, preset.predictor
    with torch.device("meta"):
        config = VJEPA2Config(
            crop_size=encoder.size,
            hidden_size=encoder.width,
            num_hidden_layers=encoder.depth,
            num_attention_heads=encoder.heads,
            mlp_ratio=encoder.hidden / encoder.width,
        )
        theirs = VJEPA2Model(config).state_dict()
        parts = {"encoder": VideoEncoder(encoder), "predictor": MaskPredictor(predictor)}
    found = {}
    for part, model in parts.items():
        for key, value in model.state_dict().items():
            pieces = keys.pieces(part, key)
            rows = [theirs[p.key] if p.row is None else theirs[p.key][p.row] for p in pieces]
            assert sum(row.shape[0] for row in rows) == value.shape[0], key
            assert all(row.shape[1:] == value.shape[1:] for row in rows), key
            found |= {piece.key: part for piece in pieces}
    assert set(theirs) == set(found)


def test_faults_are_seen():
    assert [control for control in huggingface.controls() if not control.ok] == []


def test_a_weight_on_one_side_only_is_an_error():
    peer = huggingface.PEERS[0]
    torch.manual_seed(0)
    state = huggingface.theirs(peer).state_dict()
    key = next(key for key in state if key.endswith("layernorm.bias"))
    with pytest.raises(ModelError, match="nothing read"):
        huggingface.read(peer, state | {"vjepa2.encoder.extra": torch.zeros(1)})
    del state[key]
    with pytest.raises(ModelError, match="no weight"):
        huggingface.read(peer, state)

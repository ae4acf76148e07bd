"""Random checkpoints look like the published ones: the peer itself loads them."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors import safe_open

from jepad.learn.video import fakes, parts
from jepad.learn.video.checkpoint import open_checkpoint
from jepad.learn.video.detect import detect


def test_the_peer_loads_the_classifier_and_says_the_same(checkpoints):
    """transformers, strict: nothing missing, nothing left over, the encoder's tokens equal."""
    from transformers import VJEPA2ForVideoClassification

    path = checkpoints("vitl-256/hf-classifier")
    with open(os.path.join(path, "config.json")) as f:
        config = json.load(f)
    assert config["model_type"] == "vjepa2"
    peer, report = VJEPA2ForVideoClassification.from_pretrained(
        path, num_labels=5, output_loading_info=True, dtype=torch.float32
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    shape = fakes.shapes("vitl-256", tiny=True)["encoder"]
    network = parts.filled(shape, dict(fakes.tensors(shape, 0)).__getitem__)
    video = torch.randn(1, 3, 8, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = peer.vjepa2.eval()(video.transpose(1, 2), skip_predictor=True).last_hidden_state
        ours = network.encode(video)
    assert np.abs(theirs.numpy() - ours.numpy()).max() < 5e-5


def test_a_pickle_has_the_entries_and_prefixes_of_training(checkpoints):
    whole = torch.load(checkpoints("vitl-256/meta"), weights_only=True)
    assert whole.keys() >= {"encoder", "target_encoder", "predictor", "opt", "scaler", "epoch"}
    assert all(key.startswith("module.backbone.") for key in whole["encoder"])
    acting = torch.load(checkpoints("vitg-256-ac/meta"), weights_only=True)
    assert "module.extrinsics_encoder.weight" in acting["predictor"]
    later = torch.load(checkpoints("vitl-384-2.1/meta"), weights_only=True)
    assert "ema_encoder" in later


@pytest.mark.parametrize("preset", ["vitl-384-2.1", "vitg-256-ac"])
def test_formats_that_do_not_exist_are_refused(tmp_path, preset, capsys):
    words = ["--preset", preset, "--format", "hf", "--tiny", "--out", str(tmp_path / "x")]
    with pytest.raises(SystemExit) as end:
        fakes.main(words)
    assert end.value.code == 2
    assert "neither 2.1 nor 2-AC" in capsys.readouterr().err


def test_the_command_writes_what_an_import_reads(tmp_path):
    path = str(tmp_path / "ac.pt")
    assert fakes.main(["--preset", "vitg-256-ac", "--tiny", "--out", path]) == 0
    found = detect(open_checkpoint(path))
    assert (found.version, found.random) == ("2-ac", True)


def test_weights_repeat_and_differ(checkpoints):
    shape = fakes.shapes("vitl-256", tiny=True)["predictor"]
    first, second, other = (dict(fakes.tensors(shape, seed)) for seed in (1, 1, 2))
    key = "mask_tokens.0"
    assert torch.equal(first[key], second[key])
    assert not torch.equal(first[key], other[key])
    assert not torch.equal(first[key], first["mask_tokens.1"])


def test_safetensors_say_their_framework(checkpoints):
    path = os.path.join(checkpoints("vitl-256/hf"), "model.safetensors")
    assert safe_open(path, "pt").metadata() == {"format": "pt"}

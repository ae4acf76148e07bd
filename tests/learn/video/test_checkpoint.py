"""Files that are not what they should be: each is named for what it is, and no code runs."""

import json
import os
import pickle
import random
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from jepad.errors import ModelError
from jepad.learn.video import checkpoint
from jepad.learn.video.checkpoint import open_checkpoint
from jepad.learn.video.detect import detect
from jepad.learn.video.install import finite

META, HF = "vitl-256/meta", "vitl-256/hf"


@pytest.fixture
def copied(checkpoints, tmp_path):
    """A checkpoint to damage."""

    def copy(name):
        source = checkpoints(name)
        target = str(tmp_path / os.path.basename(source))
        if os.path.isdir(source):
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
            shutil.copy(source + ".json", target + ".json")
        return target

    return copy


@pytest.fixture
def altered(copied):
    """A pickle after a change of what is in it."""

    def write(change, name=META):
        path = copied(name)
        whole = torch.load(path, weights_only=True)
        changed = change(whole)
        torch.save(whole if changed is None else changed, path)
        return path

    return write


def refused(path, *words, key=None):
    with pytest.raises(ModelError) as error:
        detect(open_checkpoint(path, key))
    for word in words:
        assert word in str(error.value), str(error.value)
    return str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_pickle(copied, share):
    path = copied(META)
    os.truncate(path, int(os.path.getsize(path) * share))
    refused(path, path, "truncated" if share else "empty")


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.999])
def test_truncated_safetensors(copied, share):
    path = os.path.join(copied(HF), "model.safetensors")
    os.truncate(path, int(os.path.getsize(path) * share))
    refused(path, path, "truncated")


def test_flipped_bits_in_a_pickle(copied):
    path = copied(META)
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))
    refused(path, "checksum")


@pytest.mark.parametrize(
    "content",
    [b"hello, this is a text that calls itself a checkpoint", b"\x89PNG\r\n\x1a\n" + b"x" * 100,
     b"\0" * 4096, b"", b"{}", b"\xff\xd8\xff\xe0" * 20],
)  # fmt: skip
@pytest.mark.parametrize("name", ["vitl.pt", "model.safetensors"])
def test_a_renamed_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    refused(str(path), str(path))


def test_a_zip_that_is_no_checkpoint(tmp_path):
    path = str(tmp_path / "vitl.pt")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(path, "damaged or truncated")


def test_a_missing_file(tmp_path):
    refused(str(tmp_path / "none.pt"), "no such file")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    refused(str(tmp_path / "pipe.pt"), "is no file")


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path, legacy):
    path, mark = str(tmp_path / "vitl.pt"), str(tmp_path / "ran")
    state = {"encoder": {}, "epoch": Bomb(mark)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    refused(path, "asks for code", "system", "never run")
    assert not os.path.exists(mark)


def test_code_in_a_plain_pickle_does_not_run_either(tmp_path):
    path, mark = str(tmp_path / "vitl.pt"), str(tmp_path / "ran")
    with open(path, "wb") as f:
        pickle.dump(Bomb(mark), f)
    refused(path)
    assert not os.path.exists(mark)


def test_a_module_instead_of_its_weights(tmp_path):
    path = str(tmp_path / "vitl.pt")
    torch.save(torch.nn.Linear(2, 2), path)
    refused(path, "asks for code", "Linear")


@pytest.mark.parametrize("content", [[1, 2], {"encoder": [1]}, {1: {}}, {"encoder": {"a": 1}}])
def test_other_things_in_a_pickle(tmp_path, content):
    path = str(tmp_path / "vitl.pt")
    torch.save(content, path)
    refused(path, path)


def test_an_old_pickle_without_zip_is_read_too(copied):
    path = copied(META)
    whole = torch.load(path, weights_only=True)
    torch.save(whole, path, _use_new_zipfile_serialization=False)
    assert detect(open_checkpoint(path)).shapes.keys() == {"encoder", "predictor"}


def test_a_missing_tensor(altered):
    def drop(whole):
        del whole["encoder"]["module.backbone.blocks.1.mlp.fc2.bias"]

    refused(altered(drop), "encoder's blocks.1.mlp.fc2.bias is missing")


def test_a_missing_predictor_is_none(altered):
    path = altered(lambda whole: whole.pop("predictor") and None)
    assert detect(open_checkpoint(path)).shapes.keys() == {"encoder"}


def test_a_tensor_nobody_reads(altered):
    def add(whole):
        whole["predictor"]["module.backbone.extra.weight"] = torch.zeros(3)

    refused(altered(add), "no part of the model reads", "predictor.extra.weight")


def test_the_named_exceptions_may_be_left(altered):
    def add(whole):
        whole["encoder"]["module.backbone.pos_embed"] = torch.zeros(1, 4, 64)
        whole["predictor"]["module.backbone.predictor_pos_embed"] = torch.zeros(1, 4, 48)

    detect(open_checkpoint(altered(add)))


def test_an_entry_nobody_knows(altered):
    refused(altered(lambda whole: {**whole, "decoder": {}}), "'decoder'")


def test_a_wrong_size(altered):
    def widen(whole):
        whole["encoder"]["module.backbone.blocks.0.attn.proj.weight"] = torch.zeros(64, 63)

    refused(altered(widen), "blocks.0.attn.proj.weight is 64 × 63", "wants 64 × 64")


def test_a_size_nobody_published_and_nobody_described(copied):
    path = copied(META)
    os.unlink(path + ".json")
    refused(path, "width 64, depth 2", "vitl-256", path + ".json")


def test_the_same_tensor_twice(altered):
    def twice(whole):
        whole["encoder"]["module.norm.weight"] = torch.zeros(64)

    refused(altered(twice), "norm.weight twice")


@pytest.mark.parametrize(
    ("key", "words"), [("ema_encoder", "has no encoder ema_encoder"), ("opt", "has")]
)
def test_an_encoder_that_is_not_there(checkpoints, key, words):
    refused(checkpoints(META), words, key=key)


def test_the_encoder_may_be_chosen(altered):
    def mark(whole):
        whole["target_encoder"] = {k: v + 1 for k, v in whole["encoder"].items()}

    path = altered(mark)
    first, second = (open_checkpoint(path, key) for key in (None, "target_encoder"))
    assert (first.key, second.key) == ("encoder", "target_encoder")
    gap = second.get("encoder", "norm.bias") - first.get("encoder", "norm.bias")
    assert gap.mean() == pytest.approx(1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(bad):
    tensor = torch.zeros(10)
    assert finite(tensor, "x") is tensor
    tensor[3] = bad
    with pytest.raises(ModelError, match=r"encoder\.norm\.bias: 1 of 10 weights are NaN"):
        finite(tensor, "encoder.norm.bias")


@pytest.mark.parametrize(
    "strange",
    [torch.eye(64).to_sparse(), torch.zeros(64, 64, device="meta")],
    ids=["sparse", "meta"],
)
def test_tensors_that_hold_no_plain_numbers(altered, strange):
    def put(whole):
        whole["encoder"]["module.backbone.blocks.0.attn.proj.weight"] = strange

    refused(altered(put), "holds no plain numbers")


@pytest.mark.parametrize("name", ["vitl.pt", "model.safetensors"])
def test_garbled_bytes_are_always_an_error_with_a_name(copied, monkeypatch, name):
    """Bytes of the pickle and of the header, as of somebody who mended the checksums after."""
    monkeypatch.setattr(checkpoint, "_intact", lambda _: None)
    path = copied(META) if name == "vitl.pt" else os.path.join(copied(HF), name)
    with open(path, "rb") as f:
        whole = f.read()
    draws, refusals = random.Random(7), 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(draws.choice([1, 3, 20])):
            data[draws.randrange(9000)] = draws.choice([draws.randrange(256), 0, 255])
        os.unlink(path)  # the one before may still be mapped
        with open(path, "wb") as f:
            f.write(data)
        try:
            detect(open_checkpoint(path))
        except ModelError:
            refusals += 1
    assert refusals > 30


class TestHuggingFace:
    def changed(self, path, change):
        file = os.path.join(path, "model.safetensors")
        state = load_file(file)
        change(state)
        save_file(state, file)
        return path

    def test_a_missing_tensor(self, copied):
        name = "encoder.layer.1.attention.key.bias"
        refused(self.changed(copied(HF), lambda s: s.pop(name)), name, "missing")

    def test_a_tensor_nobody_reads(self, copied):
        path = self.changed(copied(HF), lambda s: s.update({"encoder.gate.bias": torch.ones(2)}))
        refused(path, "no part of the model reads", "encoder.gate.bias")

    def test_a_tensor_under_both_wrappings(self, copied):
        name = "encoder.layernorm.bias"
        path = self.changed(copied(HF), lambda s: s.update({f"vjepa2.{name}": s[name].clone()}))
        refused(path, f"{name} is there twice")

    def test_half_a_predictor_is_none(self, copied):
        path = self.changed(copied(HF), lambda s: s.pop("predictor.embeddings.mask_tokens"))
        refused(path, "no part of the model reads", "predictor.")

    def test_mask_tokens_too_many_or_too_few(self, copied):
        name = "predictor.embeddings.mask_tokens"
        path = self.changed(copied(HF), lambda s: s.update({name: s[name].repeat(2, 1, 1, 1)}))
        refused(path, "mask_tokens from row 10")
        path = self.changed(path, lambda s: s.update({name: s[name][:4].clone()}))
        refused(path, "mask_tokens")

    def test_a_wrong_size(self, copied):
        name = "encoder.layer.0.mlp.fc1.weight"
        path = self.changed(copied(HF), lambda s: s.update({name: torch.zeros(64, 256)}))
        refused(path, "blocks.0.mlp.fc1.weight is 64 × 256")

    def test_the_file_itself_may_be_named(self, copied):
        path = os.path.join(copied(HF), "model.safetensors")
        assert detect(open_checkpoint(path)).shapes.keys() == {"encoder", "predictor"}

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"hidden_size": "wide"}', "{}"])
    def test_a_broken_config(self, copied, text):
        path = copied(HF)
        with open(os.path.join(path, "config.json"), "w") as f:
            f.write(text)
        refused(path, path)

    def test_shards(self, copied):
        path = copied(HF)
        state = load_file(os.path.join(path, "model.safetensors"))
        os.unlink(os.path.join(path, "model.safetensors"))
        halves = sorted(state)[::2], sorted(state)[1::2]
        table = {}
        for i, names in enumerate(halves):
            save_file({n: state[n] for n in names}, os.path.join(path, f"part{i}.safetensors"))
            table |= dict.fromkeys(names, f"part{i}.safetensors")
        index = os.path.join(path, "model.safetensors.index.json")
        with open(index, "w") as f:
            json.dump({"weight_map": table}, f)
        found = open_checkpoint(path)
        assert len(found.files) == 2
        assert detect(found).shapes.keys() == {"encoder", "predictor"}
        os.unlink(os.path.join(path, "part1.safetensors"))
        refused(path, "part1.safetensors is missing")
        with open(index, "w") as f:
            json.dump({"weight_map": {"x": "../../secret"}}, f)
        refused(path, "leaves its directory")

    def test_a_directory_without_weights(self, tmp_path):
        refused(str(tmp_path), "neither model.safetensors nor")

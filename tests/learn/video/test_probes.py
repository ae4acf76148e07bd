"""Meta's probes: a pickle of classifiers becomes part of a model that is installed already."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jepad.errors import ModelError, SettingError
from jepad.learn.video import fakes, importing, parts
from jepad.learn.video.measure import Graph
from jepad.learn.video.request import Request
from jepad.models import library

SHAPE = replace(fakes.shapes("vitl-256", tiny=True, probe=True)["probe"], heads=16)


def imported(path, root, **given):
    return importing.run(Request(path=str(path), root=str(root), **given), lambda *_: None)


@pytest.fixture(scope="module")
def root(tmp_path_factory, checkpoints):
    """A library with the model that the probe reads."""
    found = tmp_path_factory.mktemp("library")
    imported(checkpoints("vitl-256/meta"), found, name="whole", licence="MIT")
    return found


@pytest.fixture
def whole(root):
    return library.find(str(root), "whole")


@pytest.fixture
def pickled(tmp_path):
    """pickled(change, shape, count): a pickle of probes, changed."""

    def write(change=lambda whole: None, shape=SHAPE, count=1):
        path = str(tmp_path / "ssv2.pt")
        fakes.meta_probe(path, shape, 5, count)
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)
        return path

    return write


@pytest.mark.parametrize(("count", "key"), [(1, None), (3, "2")])
def test_a_model_with_a_probe_says_what_both_say(root, whole, pickled, tmp_path, count, key):
    path = pickled(count=count)
    found = imported(path, tmp_path, probe_of=whole.directory, key=key)
    manifest = found.manifest
    assert manifest.name == "whole-probe"
    assert set(manifest.shapes) == {"encoder", "predictor", "probe"}
    assert manifest.source["probe"]["sha256"] == library.sha256(path)
    assert (manifest.licence, manifest.random) == ("MIT", True)
    assert "16 heads" in manifest.story["notes"][-1]
    library.verify(found)
    for name in ("encoder.int8.onnx.data", "predictor.fp32.onnx.data"):
        assert manifest.files[name] == whole.manifest.files[name]
    given = dict(fakes.tensors(SHAPE, 5 + int(key or 0)))
    kept = load_file(found.path("weights.safetensors"))
    assert all(torch.equal(kept[f"probe.{name}"], tensor) for name, tensor in given.items())
    tokens = torch.randn(2, 9, SHAPE.width)
    got = Graph(found.graph("probe", "int8"))(("logits",), {"tokens": tokens.numpy()})[0]
    wanted = parts.filled(SHAPE, given.__getitem__)(tokens).numpy()
    assert np.abs(got - wanted).max() < 2e-5


def test_other_heads_are_a_setting(whole, pickled, tmp_path):
    found = imported(pickled(), tmp_path, probe_of=whole.directory, heads=2, name="it")
    assert found.manifest.shapes["probe"]["heads"] == 2
    with pytest.raises(SettingError, match="doesn't divide into 7 heads"):
        imported(pickled(), tmp_path, probe_of=whole.directory, heads=7)


def missing(content):
    del content["classifiers"][0]["module.pooler.cross_attention_block.xattn.kv.bias"]


def extra(content):
    content["classifiers"][0]["module.verb_classifier.weight"] = torch.zeros(3)


def strange(content):
    content["encoder"] = {}


def empty(content):
    content["classifiers"] = []


def narrow(content):
    content["classifiers"][0]["module.linear.bias"] = torch.zeros(3)


def flat(content):
    content["classifiers"][0]["module.linear.weight"] = torch.zeros(3)


def unfinite(content):
    content["classifiers"][0]["module.linear.bias"][1] = float("nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (missing, "xattn.kv.bias is missing"),
        (extra, "no part of the model reads: probe.verb_classifier.weight"),
        (strange, "has entry 'encoder'"),
        (empty, "no list 'classifiers'"),
        (narrow, "linear.bias is 3, the model wants 5"),
        (flat, "linear.weight is no matrix"),
        (unfinite, "NaN or infinite"),
    ],
)
def test_what_is_no_probe(whole, pickled, tmp_path, change, words):
    with pytest.raises(ModelError, match=words):
        imported(pickled(change), tmp_path / "library", probe_of=whole.directory)
    left = tmp_path / "library"
    assert not left.exists() or not list(left.iterdir())


@pytest.mark.parametrize("key", [None, "3", "first"])
def test_one_of_several_has_to_be_chosen(whole, pickled, tmp_path, key):
    with pytest.raises(ModelError, match="holds 3 classifiers: choose one with --key 0 to 2"):
        imported(pickled(count=3), tmp_path, probe_of=whole.directory, key=key)


def test_a_probe_of_another_model(whole, checkpoints, pickled, tmp_path):
    wide = replace(SHAPE, width=128)
    with pytest.raises(ModelError, match="width 128, those of whole have 64"):
        imported(pickled(shape=wide), tmp_path, probe_of=whole.directory)
    with pytest.raises(SettingError, match="whole checkpoints"):
        imported(pickled(), tmp_path, probe_of=whole.directory, preset="vitl-256")
    acting = imported(checkpoints("vitg-256-ac/meta"), tmp_path, name="ac", ungated=True)
    with pytest.raises(SettingError, match="a 2-AC model has no probe"):
        imported(pickled(), tmp_path, probe_of=acting.directory)


def test_a_probe_alone_says_how_it_is_imported(pickled, tmp_path):
    with pytest.raises(ModelError, match="--probe-of MODEL"):
        imported(pickled(), tmp_path)

"""A model is what its card says, or it is refused by name."""

import hashlib
import json

import pytest

from jepad.errors import ModelError
from jepad.models import store


@pytest.fixture
def directory(tmp_path):
    (tmp_path / store.GRAPH).write_bytes(b"graph")
    (tmp_path / store.WEIGHTS).write_bytes(b"weights")
    files = {
        store.GRAPH: hashlib.sha256(b"graph").hexdigest(),
        store.WEIGHTS: hashlib.sha256(b"weights").hexdigest(),
    }
    (tmp_path / store.CARD).write_text(json.dumps({"name": "x", "files": files}))
    return tmp_path


def test_a_good_model_loads(directory):
    files = store.load(str(directory))
    assert files.digest == hashlib.sha256(b"graph").hexdigest()
    assert files.onnx_path == str(directory / store.GRAPH)
    assert files.card["name"] == "x"
    assert store.load(str(directory / store.GRAPH)) == files


@pytest.mark.parametrize("name", [store.GRAPH, store.WEIGHTS])
def test_a_changed_file_is_refused_with_both_digests(directory, name):
    expected = store.load(str(directory)).card["files"][name]
    (directory / name).write_bytes(b"other")
    actual = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(ModelError) as error:
        store.load(str(directory))
    for part in (str(directory / name), expected, actual):
        assert part in str(error.value)


def test_a_truncated_file_is_refused(directory):
    (directory / store.GRAPH).write_bytes(b"gra")
    with pytest.raises(ModelError, match=store.GRAPH):
        store.load(str(directory))


def test_a_missing_file_is_named(directory):
    (directory / store.GRAPH).unlink()
    with pytest.raises(ModelError, match=str(directory / store.GRAPH)):
        store.load(str(directory))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": {}}', '{"files": 3}'])
def test_a_broken_card_is_named(directory, text):
    (directory / store.CARD).write_text(text)
    with pytest.raises(ModelError, match=store.CARD):
        store.load(str(directory))


def test_a_card_can_not_point_elsewhere(directory):
    files = {store.GRAPH: "0", "../../etc/passwd": "0"}
    (directory / store.CARD).write_text(json.dumps({"files": files}))
    with pytest.raises(ModelError, match="etc/passwd"):
        store.load(str(directory))


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        store.load(str(tmp_path / "nowhere"))


def test_the_shipped_model_is_whole_and_small():
    files = store.load()
    assert files.card["horizons_steps"] == [1, 4, 16, 64]
    assert files.card["context_steps"] == 128
    assert sum(files.card["bytes"].values()) <= 5_000_000

"""A checkpoint in each published format becomes an installed model that says what it said."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jepad.errors import ModelError, SettingError
from jepad.jepa.attention import Turn
from jepad.learn.video import fakes, importing, install, parts
from jepad.learn.video.measure import Graph
from jepad.learn.video.request import Request
from jepad.models import library
from jepad.vision.grid import Grid, positions, tables

FORMATS = {
    "vitl-256/meta": ("2.0", {"encoder", "predictor"}),
    "vitl-256/hf": ("2.0", {"encoder", "predictor"}),
    "vitl-256/hf-classifier": ("2.0", {"encoder", "predictor", "probe"}),
    "vitl-384-2.1/meta": ("2.1", {"encoder", "predictor"}),
    "vitg-384-2.1/meta": ("2.1", {"encoder", "predictor"}),
    "vitg-256-ac/meta": ("2-ac", {"encoder", "action"}),
}


def quiet(*_):
    """Nobody listens."""


def imported(path, root, **changes):
    return importing.run(Request(path=path, root=str(root), **changes), quiet)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_every_number(checkpoints, tmp_path, name):
    told = []
    request = Request(path=checkpoints(name), root=str(tmp_path), name="it")
    found = importing.run(request, lambda *step: told.append(step))
    manifest = found.manifest
    assert (manifest.version, set(manifest.shapes)) == FORMATS[name]
    assert manifest.random is True
    assert manifest.licence == "not stated"
    assert manifest.gate["int8"]["passed"]
    library.verify(found)
    preset, form = name.split("/")
    source = fakes.shapes(preset, tiny=True, probe=form == "hf-classifier")
    kept = load_file(found.path("weights.safetensors"))
    total = 0
    for i, (part, shape) in enumerate(source.items()):
        for key, tensor in fakes.tensors(shape, i):
            assert torch.equal(kept[f"{part}.{key}"], tensor), key
            total += 1
    assert total == len(kept)
    shapes = parts.shapes_of(manifest.shapes)
    assert shapes["encoder"] == source["encoder"]
    assert {stage for stage, *_ in told} >= {"hash", "weights", "graphs", "gate int8", "digests"}


def test_both_schemes_give_the_same_model(checkpoints, tmp_path):
    """The same tensors under both names: the same files, byte by byte."""
    first = imported(checkpoints("vitl-256/meta"), tmp_path, name="a")
    second = imported(checkpoints("vitl-256/hf"), tmp_path, name="b")
    assert first.manifest.digest == second.manifest.digest


def test_an_installed_graph_says_what_the_installed_weights_say(checkpoints, tmp_path):
    found = imported(checkpoints("vitl-256/hf"), tmp_path, precisions=("int8", "fp32"))
    shape = parts.shapes_of(found.manifest.shapes)["encoder"]
    kept = load_file(found.path("weights.safetensors"))
    network = parts.filled(shape, lambda key: kept[f"encoder.{key}"])
    places = positions(Grid(2, 4, 4))
    turn = Turn(*(torch.from_numpy(t) for t in tables(shape.rope, places)))
    cos, sin = tables(shape.rope, places, halves=True)
    patches = torch.randn(1, 32, shape.inputs)
    feeds = {"patches": patches.numpy(), "cos": cos[None], "sin": sin[None]}
    wanted = network(patches, turn).numpy()
    for precision, least in (("fp32", 2e-5), ("int8", 0.3)):
        got = Graph(found.graph("encoder", precision))(("tokens",), feeds)[0]
        assert np.abs(got - wanted).max() < least
    assert found.graph("predictor", "int8").endswith("predictor.fp32.onnx")


def test_what_the_importer_is_told_is_recorded(checkpoints, tmp_path):
    path = checkpoints("vitl-256/meta")
    digest = library.sha256(path)
    found = imported(path, tmp_path, name="n", licence="CC-BY-4.0", sha256=digest.upper())
    assert found.manifest.licence == "CC-BY-4.0"
    assert found.manifest.source == {
        "path": path, "scheme": "meta", "key": "encoder", "sha256": digest
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"sha256": "0" * 64}, ModelError, "download it again"),
        ({"precisions": ("int4",)}, SettingError, "int4"),
        ({"precisions": ()}, SettingError, "none"),
        ({"preset": "vitx"}, SettingError, "vitx"),
        ({"preset": "vitl-256"}, ModelError, "the model wants"),
        ({"name": "../up"}, SettingError, "model name"),
    ],
)
def test_a_request_that_can_not_be_met_leaves_nothing(checkpoints, tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        imported(checkpoints("vitl-256/meta"), tmp_path / "root", **changes)
    assert not os.path.exists(tmp_path / "root") or os.listdir(tmp_path / "root") == []


@pytest.mark.parametrize("part", ["encoder", "predictor"])
def test_a_weight_that_is_no_number_stops_the_import(checkpoints, tmp_path, part):
    whole = torch.load(checkpoints("vitl-256/meta"), weights_only=True)
    prefix = "module.backbone." + ("" if part == "encoder" else "predictor_")
    whole[part][f"{prefix}norm.bias"][2] = float("nan")
    path = str(tmp_path / "vitl.pt")
    torch.save(whole, path)
    with open(path + ".json", "w") as f, open(checkpoints("vitl-256/meta") + ".json") as g:
        f.write(g.read())
    with pytest.raises(ModelError, match=rf"{part}.*norm\.bias: 1 of \d+ weights are NaN"):
        imported(path, tmp_path / "root")
    assert os.listdir(tmp_path / "root") == []


def test_a_missed_gate_refuses_unless_told(checkpoints, tmp_path, monkeypatch):
    from jepad.learn.video import measure
    from jepad.learn.video.gate import Accuracy

    low = Accuracy(pooled=0.9999, worst=0.29, clips=4, tokens=64)
    monkeypatch.setattr(measure, "measured", lambda *_: low)
    with pytest.raises(ModelError, match=r"int8 misses its accuracy gate: worst.*0\.29.*--ungated"):
        imported(checkpoints("vitl-256/meta"), tmp_path)
    assert os.listdir(tmp_path) == []
    found = imported(checkpoints("vitl-256/meta"), tmp_path, ungated=True)
    assert found.manifest.gate["int8"]["passed"] is False


def test_a_full_disk_is_told_before_anything_is_written(checkpoints, tmp_path, monkeypatch):
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _: full)
    with pytest.raises(ModelError, match=r"needs 0\.00 GB on disk, 0\.00 GB are free"):
        imported(checkpoints("vitl-256/meta"), tmp_path)
    assert os.listdir(tmp_path) == []


def child(*words):
    return subprocess.run(
        [sys.executable, "-m", "jepad.learn.video.importing", *map(str, words)],
        capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_the_child_speaks_json_lines(checkpoints, tmp_path):
    done = child(checkpoints("vitl-256/meta"), "--root", tmp_path, "--name", "it")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[-1] == {"model": "it", "directory": str(tmp_path / "it")}
    assert all(0 <= line["done"] <= line["total"] for line in lines[:-1])


@pytest.mark.parametrize(
    ("words", "code"), [(["--precision", "int4"], 2), (["--sha256", "00"], 4), ([], 4)]
)
def test_an_error_is_the_last_line_and_the_exit_code(checkpoints, tmp_path, words, code):
    path = checkpoints("vitl-256/meta") if words else tmp_path / "none.pt"
    done = child(path, "--root", tmp_path, *words)
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, last["code"]) == (code, code)
    assert done.stderr == ""


def test_without_torch_it_says_what_to_install(tmp_path):
    """As where only the daemon's own dependencies are installed."""
    (tmp_path / "x.pt").write_bytes(b"")
    code = (
        "import sys; sys.modules['torch'] = None; from jepad.learn.video import importing; "
        "sys.exit(importing.main(sys.argv[1:]))"
    )
    words = [str(tmp_path / "x.pt"), "--root", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (4, "")
    assert "needs torch: pip install 'jepad[train]'" in done.stdout


def test_a_killed_import_leaves_nothing_half_there(checkpoints, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "jepad.learn.video.importing", checkpoints("vitl-256/meta"),
         "--root", str(tmp_path), "--name", "it", "--precision", "int8,fp32"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while '"graphs"' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    assert library.broken(str(tmp_path)) == {}
    assert "it" not in [m.manifest.name for m in library.installed(str(tmp_path))]
    imported(checkpoints("vitl-256/hf"), tmp_path, name="it")
    assert os.listdir(tmp_path) == ["it"]


def test_the_child_ends_with_its_parent(checkpoints, tmp_path):
    """A parent that is killed takes the import with it."""
    code = (
        "import os, subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-m', 'jepad.learn.video.importing',"
        " '--parent', str(os.getpid()), *sys.argv[1:]], stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, checkpoints("vitl-256/meta"), "--root", str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait(10)
    parent.stdin.close()
    parent.stdout.close()
    end = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
        if Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
            break  # dead; nobody here reaps it
        time.sleep(0.02)
    assert time.monotonic() < end

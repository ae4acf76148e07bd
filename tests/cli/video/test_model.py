"""jepactl model: lists, shows, imports and verifies models, and says what is wrong with one."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepad.learn.video import fakes, importing
from jepad.learn.video.request import Request
from tests.cli.conftest import everything
from tests.vision.films import film


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A checkpoint, and a library that it was imported into."""
    root = tmp_path_factory.mktemp("prepared")
    path = str(root / "small.pt")
    fakes.meta(path, fakes.shapes("vitl-256", tiny=True))
    importing.run(Request(path=path, root=str(root / "models"), licence="MIT"), lambda *_: None)
    return path, str(root / "models")


@pytest.fixture
def checkpoint(prepared):
    return prepared[0]


@pytest.fixture
def imported(environment, prepared):
    """The directory of the model `small`, installed for the caller."""
    root = os.path.join(environment["XDG_STATE_HOME"], "jepad", "models")
    shutil.copytree(prepared[1], root)
    return os.path.join(root, "small")


def test_the_machines_model_is_shown_as_ever(jepactl):
    bare, named = (jepactl("model", *more, "--json") for more in ((), ("show", "machine")))
    assert json.loads(bare.stdout) == json.loads(named.stdout)
    card = json.loads(bare.stdout)
    assert len(card["digest"]) == 64
    assert card["card"]["name"] == "jepad-machine"
    path = card["path"].replace(".onnx", ".json")
    assert json.loads(jepactl("model", path, "--json").stdout) == card
    assert jepactl("model").stdout.startswith("digest")


def test_a_model_is_listed_shown_and_verified(jepactl, imported):
    told = json.loads(jepactl("model", "show", "small", "--json").stdout)
    assert (told["name"], told["licence"], told["random"]) == ("small", "MIT", True)
    assert told["directory"] == imported
    assert told["resident_bytes"]["int8"] == sum(told["graph_bytes"].values())
    listed = json.loads(jepactl("model", "list", "--session", "--json").stdout)
    assert told in listed["models"]
    assert listed["broken"] == {}
    text = jepactl("model", "show", "small").stdout
    for words in ("V-JEPA 2.0", told["digest"], "random", "MIT (weights)", "resident in int8",
                  "gate passed", "encoder.int8.onnx"):  # fmt: skip
        assert words in text
    line = next(x for x in jepactl("model", "list").stdout.splitlines() if x.startswith("small"))
    assert line.split()[1:3] == ["2.0", "int8"]
    done = jepactl("model", "verify", "small", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (
        0, [{"name": "small", "ok": True, "why": ""}]
    )  # fmt: skip


def test_a_damaged_model_is_named_and_the_others_are_still_checked(jepactl, imported):
    path = os.path.join(imported, "encoder.int8.onnx.data")
    with open(path, "r+b") as f:
        f.write(b"\1\2\3")
    done = jepactl("model", "--session", "verify", "--json")
    results = {r["name"]: r for r in json.loads(done.stdout)}
    assert done.returncode == 4
    assert path in results["small"]["why"]
    assert all(r["ok"] for name, r in results.items() if name != "small")
    with open(os.path.join(imported, "manifest.json"), "w") as f:
        f.write("{")
    done = jepactl("model", "--session", "list")
    assert done.returncode == 0
    assert "small: " in done.stderr
    assert "manifest" in done.stderr


def test_a_model_is_replaced_with_force_and_removed(jepactl, checkpoint, imported):
    forced = jepactl("model", "--session", "import", checkpoint, "--force")
    assert forced.returncode == 0
    assert "not stated (weights)" in forced.stdout
    assert "imported in" in forced.stderr
    assert jepactl("model", "--session", "remove", "small").returncode == 0
    assert not os.path.exists(imported)
    gone = jepactl("model", "--session", "show", "small")
    assert gone.returncode == 1
    assert "jepactl model import" in gone.stderr
    assert jepactl("model", "--session", "remove", "small").returncode == 1


def test_a_probe_is_put_to_a_model_and_names_what_a_video_shows(
    jepactl, imported, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = str(tmp_path / "probe.pt")
    fakes.meta_probe(path, fakes.shapes("vitl-256", tiny=True, probe=True)["probe"])
    refused = jepactl("model", "--session", "import", path)
    assert refused.returncode == 4
    assert "--probe-of" in refused.stderr
    words = ("import", path, "--probe-of", "small", "--heads", "2", "--name", "named")
    done = jepactl("model", "--session", *words, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["shapes"]["probe"]["heads"], told["licence"]) == (2, "MIT")
    assert "probe.fp32.onnx" in told["files"]
    clip = film(tmp_path / "clip.mp4")
    shown = jepactl("embed", clip, "--model", "named", "--classes", "--json")
    windows = json.loads(shown.stdout)["windows"]
    for window in windows:
        assert sorted(each["number"] for each in window["classes"]) == [0, 1, 2, 3, 4]
        assert sum(each["probability"] for each in window["classes"]) == pytest.approx(1)
    without = jepactl("embed", clip, "--model", "small", "--classes")
    assert without.returncode == 1
    assert "knows no classes" in without.stderr


def test_a_published_model_that_is_not_here_says_what_it_would_take(jepactl):
    done = jepactl("model", "show", "vitg-256", "--json")
    told = json.loads(done.stdout)
    assert told["installed"] is False
    assert told["resident_bytes"]["int8"] <= 1.25e9
    assert told["resident_bytes"]["fp32"] > 4e9
    text = jepactl("model", "show", "vitg-256").stdout
    assert "not installed; of a published model's shapes" in text
    assert "1.14 GB of weights resident in int8" in text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["import"], 2, "which checkpoint"),
        (["remove"], 2, "which model"),
        (["remove", "toy"], 2, "toy ships with jepad and can't be removed"),
        (["lost"], 2, "no action 'lost'"),
        (["show", "nothing"], 1, "installed: none"),
        (["verify", "nothing"], 1, "installed: none"),
        (["show", "../etc"], 2, "model name"),
        (["import", "/nowhere.pt"], 4, "No such file"),
        (["import", "{checkpoint}", "--sha256", "ab"], 4, "SHA-256"),
    ],
)
def test_errors_say_what_and_what_next(jepactl, checkpoint, words, code, said):
    words = [word.format(checkpoint=checkpoint) for word in words]
    done = jepactl("model", "--session", *words)
    assert done.returncode == code
    assert done.stderr.startswith("jepactl: ")
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not os.path.exists(os.path.join(os.environ["XDG_STATE_HOME"], "jepad/models/small"))


def test_a_bar_on_a_terminal_and_none_elsewhere(environment, checkpoint):
    reading, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "jepad.cli", "model", "--session", "import", checkpoint],
        stderr=terminal, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(terminal)
    shown = everything(reading)
    os.close(reading)
    assert child.wait(30) == 0
    assert "[" in shown
    assert "%" in shown
    assert shown.rstrip().splitlines()[-1].split("\x1b[K")[-1].startswith("imported in")


def test_an_interrupted_import_ends_its_child_and_leaves_nothing(environment, checkpoint):
    """Ctrl-C while the child still loads what it needs."""
    child = subprocess.Popen(
        [sys.executable, "-m", "jepad.cli", "model", "--session", "import", checkpoint],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 20
    while not _children(child.pid) and time.monotonic() < end:
        time.sleep(0.02)
    below = _children(child.pid)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=20) == ("", "")
    assert child.returncode == 130
    assert below
    while any(map(_alive, below)):
        assert time.monotonic() < end + 20
        time.sleep(0.02)
    assert not os.path.exists(os.path.join(os.environ["XDG_STATE_HOME"], "jepad/models/small"))


def _alive(pid):
    """Not gone, nor dead and waiting for somebody to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(word) for word in f.read().split()]
    except OSError:
        return []

"""`jepactl embed`: over the bus, with an engine of its own, and every way to fail."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jepad.models import library
from tests.cli.conftest import everything
from tests.scene.made import install
from tests.vision.films import film, still


def test_the_daemon_is_asked_when_it_serves_a_model(served, jepactl, clip, tmp_path):
    served()
    out = str(tmp_path / "out.npy")
    done = jepactl("embed", clip, "--every", "125ms", "--out", out, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["where"] == "the daemon (session bus)"
    assert (told["model"], told["digest"], told["shape"]) == ("served", "ab" * 32, [3, 3])
    assert [w["frames"] for w in told["windows"]] == [4, 4, 4]
    assert [w["from_s"] for w in told["windows"]] == pytest.approx([0, 0.5, 1.0], abs=2e-3)
    assert told["windows"][0]["change"] is None
    assert told["windows"][1]["change"] > 0
    values = np.load(out)
    assert (values[:, 0] == 4).all()  # frames in a window
    assert (values[:, 1] == 32).all()  # cut to the model's size
    assert list(np.diff(values[:, 2]) > 0) == [True, True]  # it gets brighter
    norms = [w["norm"] for w in told["windows"]]
    assert np.linalg.norm(values, axis=1) == pytest.approx(norms, rel=1e-5)


def test_a_table_for_people(served, jepactl, clip):
    served()
    done = jepactl("embed", clip, "--window", "8", "--every", "125ms")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["FROM", "TO", "FRAMES", "NORM", "CHANGE"]
    assert lines[1].split()[:3] == ["0.00s", "0.88s", "8"]
    assert lines[1].split()[-1] == "—"
    assert lines[2].split()[2] == "4"
    assert lines[3].startswith("2 × 3 float32; V-JEPA 2.0 model served abababababab on cpu")
    assert done.stderr == ""


def test_tokens_of_all_windows_in_a_row(served, jepactl, clip, tmp_path):
    served()
    done = jepactl("embed", clip, "--every", "125ms", "--tokens", "--out", str(tmp_path / "t.npy"))
    assert done.returncode == 0
    assert np.load(tmp_path / "t.npy").shape == (6, 3)


@pytest.mark.parametrize(("frames", "sent"), [(1, 2), (3, 4), (5, 2)])
def test_the_last_frame_fills_a_tubelet(served, jepactl, tmp_path, frames, sent):
    served()
    path = film(tmp_path / "short.mp4", frames=frames)
    out = str(tmp_path / "o.npy")
    done = jepactl("embed", path, "--every", "125ms", "--out", out, "--json")
    assert done.returncode == 0
    assert np.load(out)[-1, 0] == sent
    assert json.loads(done.stdout)["windows"][-1]["frames"] == (frames - 1) % 4 + 1


def test_a_picture_is_a_clip_of_one(served, jepactl, tmp_path):
    served()
    done = jepactl("embed", still(tmp_path / "a.png"), "--json")
    assert json.loads(done.stdout)["shape"] == [1, 3]


@pytest.mark.parametrize(
    ("frames", "window", "sent"),
    [(1, (), [1]), (5, (), [4, 2]), (2, ("--window", "1"), [1, 1])],
)
def test_a_frame_by_itself_is_a_picture_where_the_model_knows_them(
    served, jepactl, tmp_path, frames, window, sent
):
    served(IMAGE="1")
    path, out = film(tmp_path / "short.mp4", frames=frames), str(tmp_path / "o.npy")
    done = jepactl("embed", path, "--every", "125ms", "--out", out, "--json", *window)
    assert json.loads(done.stdout)["image"] is True
    assert np.load(out)[:, 0].tolist() == sent


def test_classes_and_what_they_are_called(served, jepactl, clip, tmp_path):
    served()
    names = tmp_path / "labels"
    names.write_text("\n".join(f"doing \x1b{i}" for i in range(8)))
    flags = ("embed", clip, "--every", "125ms", "--window", "8", "--labels", str(names))
    done = jepactl(*flags, "--json")
    windows = json.loads(done.stdout)["windows"]
    assert len(windows) == 2
    assert windows[0]["classes"] == [
        {"number": 7, "probability": 0.5, "label": "doing \x1b7"},
        {"number": 2, "probability": 0.25, "label": "doing \x1b2"},
        {"number": 9, "probability": 0.125, "label": None},
    ]
    shown = jepactl(*flags).stdout
    assert "\x1b" not in shown
    assert [line.split()[:4] for line in shown.splitlines()[:3]] == [
        ["FROM", "TO", "CLASS", "PROBABILITY"], ["0.00s", "0.88s", "7", "0.5000"],
        ["2", "0.2500", "doing", shown.splitlines()[2].split()[3]],
    ]  # fmt: skip
    plain = jepactl("embed", clip, "--classes").stdout
    assert plain.splitlines()[3].split() == ["9", "0.1250"]


@pytest.mark.parametrize(("content", "code"), [(None, 1), (b"\xff\xfe", 2)])
def test_labels_that_are_none(served, jepactl, clip, tmp_path, content, code):
    served()
    names = tmp_path / "labels"
    if content is not None:
        names.write_bytes(content)
    done = jepactl("embed", clip, "--labels", str(names))
    assert done.returncode == code
    assert str(names) in done.stderr


def test_a_model_that_changes_on_the_way_is_an_error(served, jepactl, clip, tmp_path):
    served(CHANGED="1")
    done = jepactl("embed", clip, "--out", str(tmp_path / "o.npy"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "another model" in done.stderr
    assert not (tmp_path / "o.npy").exists()
    assert not list(tmp_path.glob("*.part"))


def test_a_daemon_that_is_too_slow_is_an_error_with_a_way_out(served, jepactl, clip):
    served(LATE="1")
    done = jepactl("embed", clip)
    assert done.returncode == 1
    assert done.stderr == "jepactl: not within 60 s. Fewer frames take less time: --window\n"


def test_without_a_model_the_way_to_one_is_shown(jepactl, clip):
    done = jepactl("embed", clip, "--session")  # the system may have models
    assert done.returncode == 1
    assert "jepactl model import PATH" in done.stderr
    assert "--model toy" in done.stderr


def test_a_model_that_is_not_there(jepactl, clip):
    done = jepactl("embed", clip, "--model", "absent")
    assert done.returncode == 1
    assert "absent" in done.stderr


def test_bad_files_and_places(served, jepactl, tmp_path, clip):
    served()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video" * 100)
    for name, code, said in (
        ("absent.mp4", 1, "No such file"),
        ("empty.mp4", 2, "is empty"),
        ("text.mp4", 2, "no video or picture"),
    ):
        done = jepactl("embed", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (code, "")
        assert f"{name}: {said}" in done.stderr
    done = jepactl("embed", clip, "--out", str(tmp_path / "absent/o.npy"))
    assert done.returncode == 1
    assert "can't be written" in done.stderr
    done = jepactl("embed", clip, "--window", "999")
    assert done.returncode == 2
    assert "at most 256" in done.stderr


def test_the_bar_is_on_a_terminal_alone(served, pseudo_errors, clip):
    served()
    assert "windows" in pseudo_errors("embed", clip, "--every", "125ms")


@pytest.fixture
def pseudo_errors(environment):
    """Run jepactl with a terminal for its messages; what it wrote there."""

    def run(*args):
        reading, terminal = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "jepad.cli", *args], stdout=subprocess.DEVNULL, stderr=terminal
        )
        os.close(terminal)
        out = everything(reading)
        assert child.wait(30) == 0
        os.close(reading)
        return out

    return run


@pytest.fixture
def own(environment, tmp_path):
    """A tiny random model in the user's own library."""
    return install(library.library(str(tmp_path / "state/jepad")), "vitl-256")


def test_an_engine_of_its_own_for_this_one_video(own, jepactl, clip):
    done = jepactl("embed", clip, "--every", "125ms", "--session", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["where"] == "an engine of its own"
    assert told["digest"] == own.manifest.digest
    assert told["random"] is True
    assert told["shape"][0] == len(told["windows"])
    assert all(w["norm"] > 0 for w in told["windows"])


def test_an_interrupt_leaves_nothing_behind(own, tmp_path):
    path = film(tmp_path / "long.mp4", frames=400)
    child = subprocess.Popen(
        [sys.executable, "-m", "jepad.cli", "embed", path, "--session", "--every", "1ms"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    children = f"/proc/{child.pid}/task/{child.pid}/children"
    pids = []
    while len(pids) < 2:  # the decoder and the engine
        pids = Path(children).read_text().split()
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (130, "")
    end = time.monotonic() + 30  # one that was just born finds its parent gone a moment later
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)

"""jepad-camera-unit: what systemd starts opens only what a person allowed."""

import json
import os
import subprocess
import sys

import pytest

from jepad.camera import unit
from jepad.errors import NotFound, NotReady
from jepad.guard.consent import Camera, Consent
from jepad.guard.plugged import plugged
from jepad.paths import Roots


@pytest.fixture
def machine(tmp_path):
    """Roots with a camera at video0."""
    own = tmp_path / "sys/devices/usb1/1-2/video4linux/video0"
    own.mkdir(parents=True)
    (own / "name").write_text("HD Webcam\n")
    (own / "device").symlink_to(tmp_path / "sys/devices/usb1/1-2")
    (tmp_path / "sys/class/video4linux").mkdir(parents=True)
    (tmp_path / "sys/class/video4linux/video0").symlink_to(own)
    return Roots(sys=str(tmp_path / "sys"), run=str(tmp_path / "run"))


def asked(tmp_path, machine, *flags):
    args = unit._parser().parse_args([*flags, "--state", str(tmp_path)])
    return unit.allowed(args, machine)


def test_a_device_needs_the_consent_for_it(tmp_path, machine):
    with pytest.raises(NotReady, match="nobody allowed"):
        asked(tmp_path, machine, "--node", "video0")
    (found,) = plugged(machine)
    Consent(str(tmp_path)).put(Camera("door", found.identity, "/dev/video7", allowed=True))
    camera, source = asked(tmp_path, machine, "--node", "video0")
    assert (camera.name, source) == ("door", "/dev/video0")
    with pytest.raises(NotReady):
        asked(tmp_path, machine, "--node", "video1")
    with pytest.raises(NotReady):  # a device is never opened by its name
        asked(tmp_path, machine, "--name", "door")
    Consent(str(tmp_path)).allow("door", False)
    with pytest.raises(NotReady):
        asked(tmp_path, machine, "--node", "video0")


def test_an_address_is_known_by_its_name(tmp_path, machine):
    with pytest.raises(NotFound):
        asked(tmp_path, machine, "--name", "yard")
    Consent(str(tmp_path)).put(Camera("yard", "rtsp://a/", "rtsp://a/"))
    with pytest.raises(NotReady):
        asked(tmp_path, machine, "--name", "yard")
    Consent(str(tmp_path)).allow("yard", True)
    assert asked(tmp_path, machine, "--name", "yard")[1] == "rtsp://a/"


def run(tmp_path, *flags):
    (tmp_path / "run").mkdir(exist_ok=True)
    where = ["--state", str(tmp_path), "--runtime", str(tmp_path / "run"), "--prefix", "jepad-u"]
    return subprocess.run(
        [sys.executable, "-m", "jepad.camera.unit", *flags, *where],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip


def test_the_condition_is_an_exit_code(tmp_path):
    Consent(str(tmp_path)).put(Camera("yard", "file:/none", "file:/none"))
    done = run(tmp_path, "--check", "--name", "yard")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not allowed" in done.stderr
    Consent(str(tmp_path)).allow("yard", True)
    assert run(tmp_path, "--check", "--name", "yard").returncode == 0
    (tmp_path / "cameras.json").write_text("{")
    assert run(tmp_path, "--check", "--name", "yard").returncode == 1
    assert run(tmp_path, "--name", "yard").returncode == 2


def test_it_becomes_the_cameras_process(tmp_path, monkeypatch):
    became = []
    monkeypatch.setattr(unit, "_become", became.append)
    Consent(str(tmp_path)).put(Camera("yard", "file:/a", "file:/a", allowed=True))
    flags = ["--state", str(tmp_path), "--runtime", str(tmp_path), "--prefix", "p"]
    assert unit.main(["--name", "yard", *flags]) == 0
    assert became == [["--name", "yard", "--runtime", str(tmp_path), "--prefix", "p"]]
    assert json.loads((tmp_path / "camera-yard.json").read_text())["source"] == "file:/a"

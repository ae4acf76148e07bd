"""A daemon with cameras, from a film to a signal; and one without, which loads nothing of them."""

import json
import subprocess
import sys
from types import SimpleNamespace

import av
import numpy as np

from jepad import config, paths
from jepad.camera.supervisor import Child, Unit
from jepad.guard.consent import Camera, Consent
from jepad.policy.live import Live
from jepad.sight import Opener, sight
from tests.running import children, daemon, described, until

WITHOUT = """
import sys
from jepad import config, paths
from jepad.daemon import Daemon
from jepad.records import Series
class Nothing:  # a sampler that is never asked
    states, series = (), (Series("cpu.busy", "tick", "counter"),)
places = paths.Places(sys.argv[1], sys.argv[1], "", sys.argv[2])
here = Daemon(Nothing(), config.Config(), places, 1.0)
assert here.sight.summary() == []
print(*[m for m in sys.modules if m.startswith("jepad.")])
"""


def places(tmp_path):
    return paths.Places(str(tmp_path), str(tmp_path), "", "jepad-test-none")


def test_a_daemon_without_cameras_loads_nothing_of_them(tmp_path, prefix):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path), prefix],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    refused = {"jepad.policy.cameras", "jepad.policy.live", "jepad.camera", "jepad.heads.watch"}
    assert not refused & loaded
    assert not [m for m in loaded if m.startswith(("jepad.camera.", "jepad.bus.eyes.camera"))]


def test_they_are_wanted_once_one_is_plugged_in_or_was_asked_for(tmp_path):
    roots = paths.Roots(sys=str(tmp_path / "sys"))
    here = sight(config.Config(), places(tmp_path), None, SimpleNamespace(), roots)
    assert not here._wanted()
    (tmp_path / "sys/class/video4linux/video0").mkdir(parents=True)
    assert here._wanted()
    (tmp_path / "sys/class/video4linux/video0").rmdir()
    Consent(str(tmp_path)).put(Camera("a", "file:/a", "file:/a"))
    assert here._wanted()


def test_a_process_is_our_child_or_a_unit_named_after_its_device(tmp_path, monkeypatch):
    monkeypatch.setattr("jepad.camera.supervisor.Talk", lambda *_: None)
    device = Live("door", "v4l2:x", "/dev/video3", node="video3")
    stream = Live("yard", "rtsp://x/", "rtsp://x/")
    mine = Opener(places(tmp_path), lambda: None)
    assert isinstance(mine(device, None), Child)
    systemds = Opener(places(tmp_path), lambda: print)
    units = [systemds(live, None) for live in (device, stream)]
    assert all(isinstance(unit, Unit) for unit in units)
    assert [u.unit for u in units] == [
        "jepad-camera@video3.service", "jepad-camera-stream@yard.service",
    ]  # fmt: skip


def film(path):
    """Grey; after a while somebody of a bright coat stands there and moves."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.height, stream.width, stream.pix_fmt = 240, 320, "yuv420p"
        for n in range(160):
            pixels = np.full((240, 320, 3), 60, np.uint8)
            if n > 48:
                left = 90 + 4 * (n % 24)
                pixels[60:220, left : left + 60] = (200, 180, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())


def test_a_consent_is_kept_by_a_new_daemon_and_somebody_is_seen(tmp_path):
    film(tmp_path / "a.mp4")
    source = f"file:{tmp_path}/a.mp4"
    Consent(str(tmp_path / "jepad")).put(
        Camera("hall", source, source, allowed=True, options={"loop": True})
    )

    def camera():
        cameras = described(tmp_path).get("cameras")
        return cameras[0] if cameras else {}

    with daemon(tmp_path) as child:
        until("somebody in view", lambda: camera().get("present"))
        assert camera()["streams"] == ["frames.hall", "motion.hall"]
        (process,) = children(child.pid, b"jepad.camera")
        Consent(str(tmp_path / "jepad")).allow("hall", False)
        until("it ended", lambda: camera().get("state") == "denied")
        assert not camera()["present"]
        until("no process of it", lambda: not children(child.pid, b"jepad.camera"))
    assert process
    assert json.loads((tmp_path / "jepad/cameras.json").read_text())["cameras"][0]["name"] == "hall"

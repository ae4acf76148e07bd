"""Cameras as sysfs tells of them, in a tree made for it."""

import pytest

from jepad.guard.plugged import anything, device, plugged
from jepad.paths import Roots


@pytest.fixture
def machine(tmp_path):
    """machine(node, **facts): a camera on it; machine.roots, machine.unplug(node)."""

    class Machine:
        roots = Roots(sys=str(tmp_path / "sys"), run=str(tmp_path / "run"))

        def __call__(self, node, name="HD Webcam", place="usb1/1-2", index="0", serial="S1"):
            above = tmp_path / "sys/devices/pci0000:00" / place
            own = above / "interface" / "video4linux" / node
            own.mkdir(parents=True)
            for file, text in (("idVendor", "046d"), ("idProduct", "0825"), ("serial", serial)):
                if serial:
                    (above / file).write_text(text + "\n")
            for file, text in (("name", name), ("index", index), ("dev", f"81:{node[5:]}")):
                (own / file).write_text(text + "\n")
            (own / "device").symlink_to(above / "interface")
            entry = tmp_path / "sys/class/video4linux" / node
            entry.parent.mkdir(parents=True, exist_ok=True)
            entry.symlink_to(own)

        def unplug(self, node):
            (tmp_path / "sys/class/video4linux" / node).unlink()

        def udev(self, node, capabilities):
            at = tmp_path / "run/udev/data" / f"c81:{node[5:]}"
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(f"I:1\nE:ID_V4L_CAPABILITIES={capabilities}\n")

    return Machine()


def test_nothing_is_plugged_in_where_there_is_no_such_thing(machine):
    assert plugged(machine.roots) == []
    assert not anything(machine.roots)


def test_a_camera_is_its_place_product_and_serial(machine):
    machine("video0")
    (found,) = plugged(machine.roots)
    assert anything(machine.roots)
    assert (found.node, found.product) == ("video0", "HD Webcam")
    assert found.identity == "v4l2:pci0000:00/usb1/1-2/interface:0|HD Webcam|046d-0825-S1"
    machine.unplug("video0")
    assert plugged(machine.roots) == []
    assert device(machine.roots, "video0") is None


@pytest.mark.parametrize(
    "other", [{"place": "usb1/1-3"}, {"name": "HD Webcam 2"}, {"serial": "S2"}, {"serial": ""}]
)
def test_any_other_is_another(machine, other):
    machine("video0", place="usb9/9-9" if "place" in other else "usb1/1-1")
    before = plugged(machine.roots)[0].identity
    machine.unplug("video0")
    machine("video1", **({"place": "usb2/1-1"} | other))
    assert plugged(machine.roots)[0].identity != before


def test_what_a_device_says_cannot_look_like_another(machine):
    machine("video0", name="a|b\x1b[31m", serial="c")
    (found,) = plugged(machine.roots)
    assert found.identity.count("|") == 2
    assert found.identity.isprintable()


def test_only_what_captures_is_a_camera(machine):
    machine("video0")
    machine("video1", index="1", place="usb1/1-4")  # metadata: udev is away, the index tells
    machine("video2", place="usb1/1-5")
    machine("video3", index="1", place="usb1/1-6")
    machine.udev("video2", ":video_output:")
    machine.udev("video3", ":capture:")
    assert [d.node for d in plugged(machine.roots)] == ["video0", "video3"]


def test_a_device_without_anything_to_tell(machine, tmp_path):
    own = tmp_path / "sys/class/video4linux/video7"
    own.mkdir(parents=True)
    (found,) = plugged(machine.roots)
    assert found.product == "video7"

"""A real guest: the same moment twice is the same, and an action makes the difference."""

import os

import pytest

from jepad.errors import SettingError
from jepad.learn.gym import frames, image
from jepad.learn.gym.guest import Guest, ready

LIMIT = 16 << 20


def started():
    picture = None if image.missing_tools() else image.built()
    if picture is None:
        pytest.skip("no guest image is built here: python -m jepad.learn.gym --floor guest")
    return picture


def free(frame):
    return frame.files["/proc/meminfo"].split()[4]


@pytest.mark.may_skip("building the image takes minutes and a Debian mirror")
def test_branches_of_one_moment_are_twins():
    picture = started()
    with Guest(picture, ready(picture), "ready") as guest:
        guest.tell("hz 1", "1 run hog hog 7 60 40 0", "go")
        guest.run(10)
        guest.save("trunk")
        ends = []
        for line in ("0 noop -", "0 noop -", f"0 act /sys/fs/cgroup/hog/memory.high {LIMIT}"):
            guest.load("trunk")
            guest.tell(line)
            ends.append(guest.run(12))
        first, again, limited = ends
        assert [frames.usage(f, "hog") for f in first[:10]] == [
            frames.usage(f, "hog") for f in again[:10]
        ]
        assert list(map(free, first[:5])) == list(map(free, again[:5]))
        assert limited[0].files["/proc/stat"] == first[0].files["/proc/stat"]
        assert frames.usage(first[8], "hog") > 50 << 20
        assert limited[8].files != first[8].files
        work = os.path.dirname(guest.disk)
    assert not os.path.exists(work)


@pytest.mark.may_skip("needs qemu")
def test_a_guest_that_cannot_start_says_why(tmp_path):
    if image.missing_tools():
        pytest.skip("no qemu here")
    (tmp_path / "disk.raw").write_bytes(b"\0" * (1 << 20))
    broken = image.Image(
        "/nonexistent/kernel", "/nonexistent/initramfs", str(tmp_path / "disk.raw"), ""
    )
    with pytest.raises(SettingError, match=r"qemu .*nonexistent"):
        Guest(broken, None)

"""The udev rules, read by udev."""

import os
import re
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "udev" / "70-jepad.rules"


def udevadm(*words):
    return subprocess.run(["udevadm", *words], capture_output=True, text=True, check=False)


def version():
    return int(udevadm("--version").stdout.split()[0])


@pytest.mark.may_skip("`udevadm verify` came with systemd 254")
def test_udevadm_verifies_the_rules():
    if version() < 254:
        pytest.skip("this udevadm has no verify")
    assert udevadm("verify", str(RULES)).returncode == 0


@pytest.mark.may_skip("the rules are mounted over /run/udev/rules.d, which takes root")
def test_udev_reads_the_rules_without_complaint(tmp_path):
    """In a mount namespace of its own, on a device that every machine has."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    inside = (
        'mkdir -p /run/udev/rules.d && mount --bind "$1" /run/udev/rules.d && '
        "exec udevadm test --action=add /sys/class/mem/null"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", inside, "sh", RULES.parent],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert f"/run/udev/rules.d/{RULES.name}" in said
    assert not [line for line in said.splitlines() if f"{RULES.name}:" in line]


def test_only_group_jepad_is_given_anything_and_nobody_may_write():
    text = RULES.read_text()
    assert set(re.findall(r"/bin/chgrp (\w+)", text)) == {"jepad"}
    modes = re.findall(r"/bin/chmod (\d+)", text) + re.findall(r"MODE=\"(\d+)\"", text)
    assert modes
    assert all(int(mode, 8) & 0o027 == 0 for mode in modes)


def test_systemd_is_asked_for_the_unit_of_what_captures_and_no_node_is_opened_to_anybody():
    text = RULES.read_text().replace("\\\n", "")
    (rule,) = [line for line in text.splitlines() if "video4linux" in line]
    assert 'ENV{ID_V4L_CAPABILITIES}=="*:capture:*"' in rule
    assert 'TAG+="systemd"' in rule
    assert 'ENV{SYSTEMD_WANTS}+="jepad-camera@%k.service"' in rule
    assert (RULES.parents[1] / "systemd/jepad-camera@.service").exists()
    assert not re.search("MODE|GROUP|OWNER|RUN", rule)

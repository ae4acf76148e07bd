"""Unit files and their kin, judged by systemd's own tools on a tree made for it.

The tree holds the host's stock units and, for each program an ExecStart= names, a copy of a real
executable: so systemd-analyze resolves all that it checks, and has no reason to complain.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICES = ("jepad.service", "jepad-engine@.service", "jepad-scene@.service")
CAMERAS = ("jepad-camera@.service", "jepad-camera-stream@.service")
STOCK = Path("/lib/systemd/system")


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


def directives(name):
    """(key, value) of every line of a unit, in order."""
    lines = (UNITS / name).read_text().splitlines()
    return [tuple(line.split("=", 1)) for line in lines if re.match(r"[A-Z]\w+=", line)]


@pytest.fixture
def tree(tmp_path):
    """A root directory into which the package's files were installed."""
    units = tmp_path / "usr/lib/systemd/system"
    shutil.copytree(STOCK, units, symlinks=True)
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "etc").mkdir()
    for name in (*SERVICES, *CAMERAS):
        shutil.copy(UNITS / name, units)
        for key, value in directives(name):
            if key in ("ExecStart", "ExecReload", "ExecCondition"):
                shutil.copy("/bin/true", tmp_path / value.split()[0].lstrip("/"))
    return tmp_path


def verify(tree):
    done = run(
        "systemd-analyze", "verify", "--man=no", f"--root={tree}", "jepad.service",
        "jepad-engine@cpu.service", "jepad-scene@toy.service", "jepad-camera@video0.service",
        "jepad-camera-stream@door.service", check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_systemd_understands_every_directive(tree):
    assert verify(tree) == (0, "")


def test_a_directive_it_does_not_know_would_be_noticed(tree):
    unit = tree / "usr/lib/systemd/system/jepad.service"
    unit.write_text(unit.read_text().replace("KeyringMode=", "KeyRingMode="))
    assert "Unknown key" in verify(tree)[1]


def test_a_program_that_is_missing_would_be_noticed(tree):
    (tree / "usr/bin/jepad-engine").unlink()
    code, said = verify(tree)
    assert code != 0
    assert "jepad-engine" in said


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("jepad.service", 8),
        ("jepad-engine@.service", 15),
        ("jepad-scene@.service", 15),
        ("jepad-camera@.service", 12),
        ("jepad-camera-stream@.service", 12),
    ],
)
def test_exposure(name, limit):
    """The limit is ten times the figure that is shown: 0.8, 1.5 and 1.2."""
    run("systemd-analyze", "security", "--offline=true", f"--threshold={limit}", UNITS / name)


@pytest.mark.parametrize("name", SERVICES)
def test_what_must_not_change(name):
    found = dict(directives(name))
    assert found["Type"] == "notify"
    assert found["WatchdogSec"] == "30"
    assert found["User"] == found["Group"] == "jepad"
    assert found["RemoveIPC"] == found["PrivateIPC"] == "no"  # streams outlive the service
    assert found["RuntimeDirectoryPreserve"] == "yes"  # two units share it
    assert found["IPAddressDeny"] == "any"
    assert found["CapabilityBoundingSet"] == ""
    assert found["OOMScoreAdjust"] == {"jepad.service": "-500"}.get(name, "200")


@pytest.mark.parametrize("name", CAMERAS)
def test_no_camera_starts_without_consent(name):
    found = dict(directives(name))
    assert found["Type"] == "notify"
    condition, start = found["ExecCondition"].split(), found["ExecStart"].split()
    assert [*condition[:1], *condition[2:]] == start  # it asks about the one that it starts
    assert condition[1] == "--check"
    assert found["User"] == "jepad"
    assert found["Group"] == "jepad-camera"
    assert found["Requisite"] == found["PartOf"] == "jepad.service"
    assert found["CapabilityBoundingSet"] == ""
    assert "[Install]" not in (UNITS / name).read_text()  # nobody enables it by mistake


def test_a_camera_has_its_device_or_the_network_and_never_both():
    device, stream = (directives(name) for name in CAMERAS)
    assert ("DeviceAllow", "/dev/%i rw") in device
    assert ("PrivateNetwork", "yes") in device
    assert ("IPAddressDeny", "any") in device
    assert ("BindsTo", "dev-%i.device") in device
    assert ("PrivateDevices", "yes") in stream
    assert not [value for key, value in stream if key == "DeviceAllow"]


def test_the_engine_is_wanted_by_name_and_not_started_twice():
    found = dict(directives("jepad.service"))
    assert found["Wants"] == "jepad-engine@cpu.service"
    assert found["ExecStart"].endswith(" --engine none")


@pytest.mark.parametrize("name", [*SERVICES, *CAMERAS])
def test_the_programs_know_the_flags_they_are_given(name):
    program, *words = dict(directives(name))["ExecStart"].split()
    module = os.path.basename(program).replace("-", ".")
    said = run(sys.executable, "-m", module, "--help").stdout
    assert all(flag in said for flag in words if flag.startswith("--"))


@pytest.mark.parametrize("name", [*SERVICES, *CAMERAS])
def test_the_pages_it_names_are_there(name):
    for page, chapter in re.findall(
        r"man:([\w.]+)\((\d)\)", dict(directives(name))["Documentation"]
    ):
        assert (ROOT / "man" / f"{page}.{chapter}").exists()


def test_the_preset_enables_the_service(tree):
    presets = tree / "usr/lib/systemd/system-preset"
    presets.mkdir()
    shutil.copy(UNITS / "90-jepad.preset", presets)
    run("systemctl", f"--root={tree}", "preset", "jepad.service", "jepad-engine@.service")
    wanted = tree / "etc/systemd/system/multi-user.target.wants/jepad.service"
    assert os.readlink(wanted).endswith("/lib/systemd/system/jepad.service")
    assert not (tree / "etc/systemd/system/jepad.service.wants").exists()


def test_the_user_is_made(tree):
    target = tree / "usr/lib/sysusers.d"
    target.mkdir(parents=True)
    shutil.copy(UNITS / "sysusers.conf", target / "jepad.conf")
    run("systemd-sysusers", f"--root={tree}", "jepad.conf")
    user = next(x for x in (tree / "etc/passwd").read_text().splitlines() if x.startswith("jepad:"))
    assert user.split(":")[5:] == ["/var/lib/jepad", "/usr/sbin/nologin"]
    groups = "\n" + (tree / "etc/group").read_text()
    assert "\njepad:x:" in groups
    assert re.search(r"\njepad-camera:x:\d+:\n", groups)  # and nobody in it


def test_the_runtime_directory_is_made(tree):
    (tree / "etc/passwd").write_text(f"jepad:x:{os.getuid()}:{os.getgid()}::/:/bin/false\n")
    (tree / "etc/group").write_text(f"jepad:x:{os.getgid()}:\n")
    target = tree / "usr/lib/tmpfiles.d"
    target.mkdir(parents=True)
    shutil.copy(UNITS / "tmpfiles.conf", target / "jepad.conf")
    run("systemd-tmpfiles", "--create", f"--root={tree}", "jepad.conf")
    assert (tree / "run/jepad").stat().st_mode & 0o7777 == 0o755


def test_the_catalog_compiles_and_names_each_message_once(tmp_path):
    for directory in ("usr/lib/systemd/catalog", "var/lib/systemd/catalog"):
        (tmp_path / directory).mkdir(parents=True)
    shutil.copy(UNITS / "jepad.catalog", tmp_path / "usr/lib/systemd/catalog")
    assert run("journalctl", "--update-catalog", f"--root={tmp_path}").stderr == ""
    listed = run("journalctl", "--list-catalog", f"--root={tmp_path}").stdout.splitlines()
    written = re.findall(r"^-- ([0-9a-f]{32})$", (UNITS / "jepad.catalog").read_text(), re.M)
    assert sorted(line.split()[0] for line in listed) == sorted(set(written)) == sorted(written)


def test_what_is_logged_with_an_id_is_in_the_catalog():
    code = "".join(path.read_text() for path in (ROOT / "jepad").rglob("*.py"))
    logged = set(re.findall(r"\"([0-9a-f]{32})\"", code))
    assert logged <= set(re.findall(r"^-- (\w+)$", (UNITS / "jepad.catalog").read_text(), re.M))

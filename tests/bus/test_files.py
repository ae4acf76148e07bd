"""The files beside the code: well-formed, and complete."""

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from jepad.bus import schema

DBUS = Path(__file__).parents[2] / "dbus"
ELEMENTS = {
    "interfaces": {"node", "interface", "method", "signal", "property", "arg", "annotation"},
    "org.jepad1.conf": {"busconfig", "policy", "allow", "deny"},
    "org.jepad1.policy": {
        "policyconfig", "vendor", "action", "description", "message", "defaults",
        "allow_any", "allow_inactive", "allow_active", "annotate",
    },
}  # fmt: skip
FILES = [*sorted((DBUS / "interfaces").glob("*.xml")), DBUS / "org.jepad1.conf"]
FILES.append(DBUS / "org.jepad1.policy")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_xml_is_well_formed_and_of_known_elements(path):
    done = subprocess.run(["xmllint", "--noout", "--nonet", path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    known = ELEMENTS.get(path.name) or ELEMENTS["interfaces"]
    assert {element.tag for element in ET.parse(path).getroot().iter()} <= known


def test_every_polkit_action_has_its_owner_and_its_answer():
    actions = {
        a.get("id"): a for a in ET.parse(DBUS / "org.jepad1.policy").getroot().iter("action")
    }
    answers = {
        "read": "yes", "read-camera": "auth_admin", "act": "auth_admin_keep",
        "set-mode": "auth_admin_keep", "manage-models": "auth_admin_keep",
        "export-data": "auth_admin_keep", "erase-data": "auth_admin_keep",
    }  # fmt: skip
    assert {name.removeprefix("org.jepad1.") for name in actions} == set(answers)
    for name, action in actions.items():
        annotate = action.find("annotate")
        assert annotate.get("key") == "org.freedesktop.policykit.owner"
        assert annotate.text == "unix-user:jepad"
        given = {element.text for element in action.find("defaults")}
        assert given == {answers[name.removeprefix("org.jepad1.")]}


def rules(policy, kind):
    return [
        (r.get("send_interface"), r.get("send_member"))
        for r in policy.iter(kind)
        if r.get("send_destination")
    ]


def test_the_bus_policy_allows_reading_alone():
    policies = {
        p.get("user") or p.get("context"): p
        for p in ET.parse(DBUS / "org.jepad1.conf").getroot().iter("policy")
    }
    everybody = policies["default"]
    assert everybody.find("deny[@own]") is not None
    assert rules(everybody, "deny") == [(None, None)]
    assert policies["jepad"].find("allow[@own='org.jepad1']") is not None
    assert policies["root"].find("allow[@own]") is None
    allowed = set(rules(everybody, "allow"))
    writing = {("org.jepad1.Manager", "Reload"), ("org.freedesktop.DBus.Properties", "Set")}
    writing |= {("org.jepad1.Cameras", member) for member in ("Add", "Allow", "Remove")}
    wanted = {
        (interface.name, member)
        for interface in map(schema.load, (p.stem for p in (DBUS / "interfaces").glob("*.xml")))
        for member in interface.methods
    }
    for interface, member in wanted:
        open_to_all = (interface, member) in allowed or (interface, None) in allowed
        assert open_to_all == ((interface, member) not in writing), (interface, member)


def test_activation_goes_through_systemd():
    lines = (DBUS / "org.jepad1.service").read_text().splitlines()
    assert {"Name=org.jepad1", "SystemdService=jepad.service", "User=jepad"} <= set(lines)


def test_the_manual_page_is_clean():
    page = DBUS.parent / "man/org.jepad1.5"
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)
    text = page.read_text()
    for path in (DBUS / "interfaces").glob("org.jepad1.*.xml"):
        interface = schema.load(path.stem)
        for name in (*interface.methods, *interface.properties, *interface.signals):
            assert name in text, name

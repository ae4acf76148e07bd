"""Strangers: what the shipped bus policy stops, and what jepad stops by itself.

A real dbus-daemon reads the shipped file, with other users in the place of jepad and root,
because user jepad need not exist here. Only root can call as somebody else.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jepad.bus import schema
from jepad.bus.connection import Connection
from jepad.bus.seam import Message, Variant

ROOT = Path(__file__).parents[2]
OPEN = """<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow receive_sender="*"/><allow own="*"/>
<allow send_destination="*"/></policy></busconfig>"""
CLOSED = """<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus"/></policy>
<include>{shipped}</include></busconfig>"""
MANAGER = ("/org/jepad1", "org.jepad1.Manager")
PROPERTIES = ("/org/freedesktop/LogControl1", "org.freedesktop.DBus.Properties")
SET = ("string:org.freedesktop.LogControl1", "string:LogLevel", "variant:string:debug")


@pytest.fixture
def directory():
    """A directory that strangers may enter."""
    path = tempfile.mkdtemp(prefix="jepad-policy-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


def serve(directory, text):
    """A bus with that configuration and jepad on it; its processes and what a stranger can do."""
    config, where = f"{directory}/conf", f"{directory}/bus"
    Path(config).write_text(text.format(path=where, shipped=f"{directory}/shipped.conf"))
    bus = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    bus.stdout.readline()
    os.chmod(where, 0o777)
    jepad = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/bus/server.py"), f"unix:path={where}"],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert jepad.stdout.readline() == "ready\n"

    def ask(user, path, interface, member, *arguments):
        done = subprocess.run(
            ["dbus-send", f"--bus=unix:path={where}", "--print-reply", "--dest=org.jepad1",
             path, f"{interface}.{member}", *arguments],
            user=user, cwd="/", capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    return (bus, jepad), ask


def end(processes):
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.may_skip("only root can call as somebody else")
@pytest.mark.skipif(os.getuid() != 0, reason="not root")
def test_jepad_itself_refuses_a_stranger_what_changes_it(directory):
    processes, ask = serve(directory, OPEN)
    try:
        assert "JEPAD" in ask("nobody", *MANAGER, "Status", "boolean:false").upper()
        for where, member, arguments in ((MANAGER, "Reload", ()), (PROPERTIES, "Set", SET)):
            answer = ask("nobody", *where, member, *arguments)
            assert "Error.AccessDenied: only root and the user of jepad" in answer
            assert "AccessDenied" not in ask("root", *where, member, *arguments)
    finally:
        end(processes)


@pytest.mark.may_skip("only root can call as somebody else")
@pytest.mark.skipif(os.getuid() != 0, reason="not root")
def test_a_job_is_its_owners_alone(directory):
    processes, ask = serve(directory, OPEN)

    async def body():
        peer = await Connection.open(f"unix:path={directory}/bus")
        goal = {"want": Variant("s", "x >= 1"), "horizon_usec": Variant("t", 60_000_000)}
        call = Message(
            destination="org.jepad1", path="/org/jepad1", member="Plan",
            signature="sa{sv}a{sv}", body=["memory", goal, {}],
        )  # fmt: skip
        path = (await peer.call(call)).body[0]
        answers = await asyncio.to_thread(strangers, path)
        peer.close()
        return answers

    def strangers(path):
        job = "org.jepad1.Job"
        get = (path, PROPERTIES[1], "Get", f"string:{job}")
        denied = [ask("nobody", *get, f"string:{name}") for name in schema.load(job).properties]
        denied.append(ask("nobody", path, PROPERTIES[1], "GetAll", f"string:{job}"))
        denied.append(ask("nobody", path, PROPERTIES[1], "GetAll", "string:"))
        denied.append(ask("nobody", path, job, "Cancel"))
        listing = ("/org/jepad1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        lists = [ask(user, *listing) for user in ("nobody", "root")]
        return path, denied, lists, ask("root", *get, "string:State")

    try:
        path, denied, (theirs, ours), state = asyncio.run(body())
        assert all("Error.AccessDenied: job" in answer for answer in denied), denied
        assert path not in theirs
        assert path in ours
        assert "running" in state
    finally:
        end(processes)


@pytest.mark.may_skip("only root can call as somebody else")
@pytest.mark.skipif(os.getuid() != 0, reason="not root")
def test_the_shipped_policy_stops_a_stranger_at_the_bus(directory):
    shipped = (ROOT / "dbus/org.jepad1.conf").read_text()
    stands_in = shipped.replace('user="root"', 'user="daemon"').replace('"jepad"', '"root"')
    Path(f"{directory}/shipped.conf").write_text(stands_in)
    processes, ask = serve(directory, CLOSED)
    try:
        for member, arguments in (
            ("Describe", ()),
            ("ListStreams", ()),
            ("Status", ("boolean:true",)),
        ):
            assert "method return" in ask("nobody", *MANAGER, member, *arguments)
        model = ("/org/jepad1", "org.jepad1.WorldModel")
        assert "method return" in ask("nobody", *model, "GetWorldState")
        get = ("string:org.jepad1.Manager", "string:State")
        assert "running" in ask("nobody", "/org/jepad1", PROPERTIES[1], "Get", *get)
        for where, member, arguments in ((MANAGER, "Reload", ()), (PROPERTIES, "Set", SET)):
            answer = ask("nobody", *where, member, *arguments)
            assert "Rejected send message" in answer
        assert "Rejected" not in ask("daemon", *MANAGER, "Reload")
        cameras = ("/org/jepad1", "org.jepad1.Cameras")
        assert "method return" in ask("nobody", *cameras, "List")
        for member, arguments in (
            ("Allow", ("string:a", "boolean:true")),
            ("Remove", ("string:a",)),
        ):
            assert "Rejected send message" in ask("nobody", *cameras, member, *arguments)
        own = subprocess.run(
            ["dbus-send", f"--bus=unix:path={directory}/bus", "--print-reply",
             "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.RequestName",
             "string:org.jepad1", "uint32:0"],
            user="nobody", cwd="/", capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert "not allowed to own" in own.stderr
    finally:
        end(processes)


@pytest.mark.may_skip("only root can call as somebody else")
@pytest.mark.skipif(os.getuid() != 0, reason="not root")
def test_a_stranger_may_read_how_cameras_are_and_allow_none(directory):
    processes, ask = serve(directory, OPEN)
    cameras = ("/org/jepad1", "org.jepad1.Cameras")
    camera = ("/org/jepad1/camera/a", PROPERTIES[1])
    changes = (
        (*cameras, "Allow", "string:a", "boolean:true"),
        (*cameras, "Remove", "string:a"),
    )
    try:
        asyncio.run(added(directory))
        for call in changes:
            assert "Error.AccessDenied: only root and the user of jepad" in ask("nobody", *call)
        assert 'string "running"' in ask("nobody", *cameras, "List")
        state = ("string:org.jepad1.Camera", "string:State")
        assert 'string "running"' in ask("nobody", *camera, "Get", *state)
        assert all("method return" in ask("root", *call) for call in changes)
    finally:
        end(processes)


async def added(directory):
    """A camera a on the bus in a directory."""
    peer = await Connection.open(f"unix:path={directory}/bus")
    await peer.call(
        Message(
            destination="org.jepad1",
            path="/org/jepad1",
            member="Add",
            signature="sa{sv}",
            body=["file:/a.mp4", {}],
        )
    )
    peer.close()

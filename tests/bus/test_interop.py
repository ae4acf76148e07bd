"""Other people's clients: busctl, gdbus, dbus-send, and the library's own."""

import asyncio
import json
import os
import subprocess


def tool(jepad, *argv):
    done = subprocess.run(
        argv,
        env=os.environ | {"DBUS_SESSION_BUS_ADDRESS": jepad.address},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout, done.stderr


def test_busctl(jepad):
    busctl = ("busctl", f"--address={jepad.address}", "--json=short")
    call = (*busctl, "call", "org.jepad1", "/org/jepad1")
    out, err = tool(jepad, *call, "org.jepad1.WorldModel", "Predict", "sta{sv}", "cpu", "5", "0")
    answer = json.loads(out)["data"][0]
    assert (answer["p50"], err) == ({"type": "ad", "data": [1.0]}, "")
    out, _ = tool(jepad, *busctl, "introspect", "org.jepad1", "/org/jepad1")
    by_name = (
        {m["name"]: m for m in json.loads(out) if m["interface"] == "org.jepad1.Manager"}
        if (out.startswith("["))
        else {}
    )
    text = out if not by_name else json.dumps(by_name)
    assert "AnomalyScore" in text
    out, _ = tool(jepad, *busctl, "tree", "org.jepad1")
    assert "/org/jepad1/resource" in out


def test_busctl_sees_the_annotations(jepad):
    out, _ = tool(
        jepad, "busctl", f"--address={jepad.address}", "introspect", "org.jepad1", "/org/jepad1"
    )
    lines = {line.split()[0]: line.split() for line in out.splitlines()}
    assert "const" in lines[".Version"]
    assert "emits-change" in lines[".State"]
    assert "emits-change" not in lines[".AnomalyScore"]


def test_gdbus(jepad):
    call = ("gdbus", "call", "--session", "--dest", "org.jepad1", "--object-path", "/org/jepad1")
    out, err = tool(jepad, *call, "--method", "org.jepad1.WorldModel.Predict", "io", "7", "{}")
    assert "'horizon_usec': <uint64 7>" in out, err
    _, err = tool(jepad, *call, "--method", "org.jepad1.WorldModel.Predict", "io")
    assert "InvalidArgs" in err or "No such method" in err
    _, err = tool(jepad, *call, "--method", "org.jepad1.WorldModel.Predict", "boom", "0", "{}")
    assert "org.jepad1.Error.Internal" in err


def test_dbus_send_without_an_interface_in_big_letters(jepad):
    out, err = tool(
        jepad, "dbus-send", "--session", "--print-reply=literal", "--dest=org.jepad1",
        "/org/jepad1", "org.freedesktop.DBus.Properties.Get",
        "string:org.jepad1.Manager", "string:Mode",
    )  # fmt: skip
    assert (out.split(), err) == (["variant", "observe"], "")


def test_the_proxy_of_dbus_fast(jepad):
    from dbus_fast.aio import MessageBus

    async def body():
        bus = await MessageBus(bus_address=jepad.address).connect()
        node = await bus.introspect("org.jepad1", "/org/jepad1")
        proxy = bus.get_proxy_object("org.jepad1", "/org/jepad1", node)
        manager = proxy.get_interface("org.jepad1.Manager")
        found = await manager.get_state(), len(await manager.call_list_streams())
        bus.disconnect()
        return found

    assert asyncio.run(body())[1] == 1

"""Cameras on the bus: an object each, told when they change, changed by those alone who may."""

import asyncio
import json
import math

import pytest

from jepad.bus import schema
from jepad.bus.connection import Refused
from jepad.bus.seam import Message, Variant
from jepad.bus.variants import unwrap
from tests.policy.looking import WEBCAM

CAMERA = "org.jepad1.Camera"
NOW = {"never": Variant("b", True)}  # an option keeps an answer from being kept
ZONES = json.dumps([[[0, 0], [0.5, 1]]])


def at(name):
    return {"path": f"/org/jepad1/camera/{name}"}


def add(jepad, spec, **options):
    return jepad.ask("Add", "sa{sv}", spec, options)[0]


def get(jepad, name, key):
    return unwrap(jepad.ask("Get", "ss", CAMERA, key, **at(name))[0])


def plug(jepad, node):
    """Plug a device in; "" pulls all out."""
    jepad.ask("Predict", "sta{sv}", f"plug:{node}", 0, NOW)


def rows(jepad):
    return {row["name"].value: row for row in jepad.ask("List")[0]}


@pytest.fixture(autouse=True)
def nothing_left(jepad):
    yield
    plug(jepad, "")
    for name, row in rows(jepad).items():
        if row["state"].value != "unknown":
            jepad.ask("Remove", "s", name)


def test_an_added_film_is_an_object_with_its_declared_types(jepad):
    options = {
        "name": Variant("s", "door"),
        "fps": Variant("d", 2.0),
        "size": Variant("t", 128),
        "filters": Variant("as", ["zones"]),
        "zones": Variant("s", ZONES),
    }
    assert add(jepad, "file:/a.mp4", **options) == "/org/jepad1/camera/door"
    got = jepad.ask("GetAll", "s", CAMERA, **at("door"))[0]
    declared = schema.load(CAMERA).properties
    assert {k: v.signature for k, v in got.items()} == {k: p.signature for k, p in declared.items()}
    values = unwrap(got)
    assert (values["State"], values["Frames"], values["Dropped"]) == ("running", 3, 2)
    assert values["Numbers"]["length_s"] == 9
    assert values["Unseen"] == 2
    assert values["Readers"][0] == {
        "stream": "frames.door", "pid": 7, "uid": 1000, "program": "viewer", "writes": False,
    }  # fmt: skip
    row = rows(jepad)["door"]
    assert (row["object"].signature, row["object"].value) == ("o", "/org/jepad1/camera/door")
    assert json.loads(row["settings"].value)["zones"] == [[[0, 0], [0.5, 1]]]
    introspected = jepad.ask("Introspect", path="/org/jepad1/camera")[0]
    assert '<node name="door"/>' in introspected


def test_the_way_of_a_camera_from_found_to_removed(jepad):
    plug(jepad, "video0")
    assert get(jepad, "hd_webcam", "State") == "unknown"
    assert get(jepad, "hd_webcam", "Identity") == WEBCAM.identity
    assert math.isnan(get(jepad, "hd_webcam", "Surprise"))
    jepad.ask("Allow", "sb", "hd_webcam", True)
    assert get(jepad, "hd_webcam", "State") == "running"
    jepad.ask("Allow", "sb", "hd_webcam", False)
    assert get(jepad, "hd_webcam", "State") == "denied"
    plug(jepad, "")
    jepad.ask("Remove", "s", "hd_webcam")
    with pytest.raises(Refused, match="UnknownObject"):
        get(jepad, "hd_webcam", "State")
    with pytest.raises(Refused, match=r"jepad1.Error.NotFound: no camera 'hd_webcam'"):
        jepad.ask("Allow", "sb", "hd_webcam", True)


def test_a_password_is_told_to_nobody(jepad):
    add(jepad, "rtsp://me:secret@cam.lan/live", name=Variant("s", "yard"))
    told = json.dumps(unwrap(jepad.ask("GetAll", "s", "", **at("yard"))[0]))
    told += json.dumps(unwrap(jepad.ask("List")[0]))
    assert "cam.lan" in told
    assert "secret" not in told
    assert get(jepad, "yard", "State") == "denied"


@pytest.mark.parametrize(
    ("spec", "options", "name", "words"),
    [
        ("file:a.mp4", {}, "jepad1.Error.InvalidArgument", "from the root"),
        ("/dev/video9", {}, "jepad1.Error.NotFound", "no camera that is plugged in"),
        ("file:/a", {"zones": Variant("s", "[")}, "InvalidArgument", "not JSON"),
        ("file:/a", {"zones": Variant("as", ["x"])}, "InvalidArgument", "JSON of at most"),
        ("file:/a", {"fps": Variant("s", "fast")}, "InvalidArgument", "fps"),
        ("file:/a", {"colour": Variant("s", "red")}, "InvalidArgument", "colour"),
        ("file:/\udcff".encode(errors="replace").decode() + "/", {}, "InvalidArgument", "root"),
        ("x" * 9000, {}, "InvalidArgument", "at most"),
    ],
)
def test_what_is_wrong_is_said(jepad, spec, options, name, words):
    with pytest.raises(Refused, match=words) as caught:
        add(jepad, spec, **options)
    assert caught.value.name.endswith(name)
    assert rows(jepad) == {}


def test_signals(jepad):
    heard = asyncio.run(listened(jepad))
    members = [m.member for m in heard]
    first = [m for m in members if m not in ("PropertiesChanged", "NameAcquired")]
    assert first == [
        "InterfacesAdded", "CameraFound", "InterfacesRemoved", "InterfacesAdded", "Arrived", "Left",
    ]  # fmt: skip
    found = next(m for m in heard if m.member == "CameraFound")
    assert (found.path, found.body) == ("/org/jepad1", ["hd_webcam", WEBCAM.identity])
    arrived = next(m for m in heard if m.member == "Arrived")
    assert (arrived.path, arrived.body) == ("/org/jepad1/presence", ["door"])
    changed = [m for m in heard if m.member == "PropertiesChanged"]
    presence = [unwrap(m.body[1]) for m in changed if m.path == "/org/jepad1/presence"]
    assert {"Present": True, "Cameras": ["door"]} in presence
    told = [unwrap(m.body[1]) for m in changed if m.path == "/org/jepad1/camera/door"]
    assert any(body.get("Present") is True and body.get("Reason") == "odd ?" for body in told)
    assert not [body for body in told if "Frames" in body or "Numbers" in body]


async def listened(jepad):
    """What one connection hears while a camera comes and somebody walks by."""
    async with jepad.connect() as peer:
        heard = []
        peer.on_message = lambda message, _size: heard.append(message)
        await peer.call_bus("AddMatch", "s", "type='signal',sender='org.jepad1'")

        async def ask(member, signature="", *body):
            return await peer.call(jepad.message(member, signature, *body))

        async def until(member):
            async with asyncio.timeout(20):
                while not [m for m in heard if m.member == member]:
                    await ask("Predict", "sta{sv}", "tick", 0, NOW)
                    await asyncio.sleep(0.02)

        await ask("Predict", "sta{sv}", "plug:video0", 0, NOW)
        await ask("Predict", "sta{sv}", "plug:", 0, NOW)
        await until("InterfacesRemoved")
        await ask("Add", "sa{sv}", "file:/a.mp4", {"name": Variant("s", "door")})
        await asyncio.sleep(1.1)  # changes are told once a second
        await ask("Predict", "sta{sv}", "sees:door/9/1", 0, NOW)
        await until("Arrived")
        for _ in range(3):
            await asyncio.sleep(0.5)
            await ask("Predict", "sta{sv}", "tick", 0, NOW)
        await ask("Predict", "sta{sv}", "sees:door/9/0", 0, NOW)
        await until("Left")
        return [m for m in heard if isinstance(m, Message) and m.interface != "org.jepad1.Manager"]

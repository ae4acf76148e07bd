"""What is served is what dbus/interfaces declares, annotations included, and it works."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from jepad.bus import schema
from jepad.bus.connection import Refused
from jepad.bus.dispatch import Adapter
from jepad.bus.seam import Variant
from jepad.bus.variants import unwrap

FILES = sorted((Path(__file__).parents[2] / "dbus/interfaces").glob("*.xml"))
STANDARD = {f"org.freedesktop.DBus.{n}" for n in ("Peer", "Introspectable", "Properties")}
OBJECTS = {
    "/org/jepad1": STANDARD
    | {"org.jepad1.Manager", "org.jepad1.WorldModel", "org.jepad1.Cameras"}
    | {"org.freedesktop.DBus.ObjectManager"},
    "/org/jepad1/resource": STANDARD | {"org.jepad1.Resource"},
    "/org/jepad1/presence": STANDARD | {"org.jepad1.Presence"},
    "/org/freedesktop/LogControl1": STANDARD | {"org.freedesktop.LogControl1"},
    "/org": STANDARD,
}


def canonical(element):
    return ET.canonicalize(ET.tostring(element), strip_text=True)


def declared():
    interfaces = [ET.parse(path).getroot().find("interface") for path in FILES]
    return {i.get("name"): i for i in interfaces}


def test_every_file_declares_the_interface_it_is_named_after():
    assert {path.stem for path in FILES} == set(declared())


def test_the_package_has_the_same_files():
    inside = Path(schema.__file__).parent / "interfaces"
    assert sorted(p.name for p in inside.glob("*.xml")) == [p.name for p in FILES]


def test_every_member_of_ours_is_documented_and_every_property_annotated():
    for path in FILES:
        if not path.stem.startswith("org.jepad1"):
            continue
        root = ET.parse(path, ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))).getroot()
        members = list(root.find("interface"))
        for before, member in zip([None, *members], members, strict=False):
            if isinstance(member.tag, str):
                documented = before is not None and not isinstance(before.tag, str)
                assert documented, member.get("name")
            if member.tag == "property":
                assert member.find("annotation").get("name") == schema.EMITS


def test_introspection_equals_the_files(jepad):
    wanted = declared()
    for path, names in OBJECTS.items():
        root = ET.fromstring(jepad.ask("Introspect", path=path)[0])
        served = {i.get("name"): canonical(i) for i in root.iter("interface")}
        assert served == {name: canonical(wanted[name]) for name in names}


def test_nodes_lead_to_every_object(jepad):
    found, todo = set(), ["/"]
    while todo:
        path = todo.pop()
        root = ET.fromstring(jepad.ask("Introspect", path=path)[0])
        children = [
            f"{path.rstrip('/')}/{n.get('name')}" for n in root.iter("node") if n.get("name")
        ]
        todo += children
        found.add(path)
    assert found >= set(OBJECTS)


def test_properties_have_their_declared_types(jepad):
    for path, names in OBJECTS.items():
        for name in names:
            interface = schema.load(name)
            got = jepad.ask("GetAll", "s", name, path=path)[0]
            assert {k: v.signature for k, v in got.items()} == {
                k: p.signature for k, p in interface.properties.items()
            }
            for key, value in got.items():
                assert jepad.ask("Get", "ss", name, key, path=path)[0].signature == value.signature
    assert jepad.ask("Get", "ss", "", "Version")[0].value == "0.test"
    assert "AnomalyScore" in jepad.ask("GetAll", "s", "")[0]


def test_the_object_manager_has_what_is_below(jepad):
    objects = unwrap(jepad.ask("GetManagedObjects")[0])
    assert set(objects) == {"/org/jepad1/resource", "/org/jepad1/presence"}
    risks = objects["/org/jepad1/resource"]["org.jepad1.Resource"]["Risks"]
    assert {k: list(v) for k, v in risks.items()} == {
        "memory": [0.9, 120_000_000, "app.slice", "app.slice grows"]
    }


def test_forecasts_are_rows(jepad):
    value = jepad.ask("Get", "ss", "org.jepad1.Resource", "Forecasts", path="/org/jepad1/resource")
    assert [list(row) for row in value[0].value] == [["cpu.user", "tick", 1_000_000, 0.5, 1.0, 2.0]]


def test_predict_answers_with_the_declared_types_and_once_a_tick(jepad):
    answer = jepad.ask("Predict", "sta{sv}", "memory", 2_000_000, {})[0]
    asked = jepad.facts()["asked"]
    again = jepad.ask("Predict", "sta{sv}", "memory", 2_000_000, {})[0]
    assert jepad.facts()["asked"] == asked
    assert again["age_usec"].value > answer["age_usec"].value >= 1000
    assert {k: v.signature for k, v in answer.items()} == {
        "series": "as", "units": "as", "horizon_usec": "t", "p10": "ad", "p50": "ad", "p90": "ad",
        "confidence": "d", "part": "s", "model": "s", "age_usec": "t", "source_n": "x",
        "parts": "as", "weights": "ad", "silent": "as",
    }  # fmt: skip
    jepad.ask("Predict", "sta{sv}", "tick", 1, {})
    jepad.ask("Predict", "sta{sv}", "memory", 2_000_000, {})
    assert jepad.facts()["asked"] == asked + 2


def test_descriptions_are_made_once_a_tick(jepad):
    tick = ("Predict", "sta{sv}", "tick", 0, {"uncached": Variant("b", True)})
    jepad.ask(*tick)
    first = jepad.ask("Status", "b", False)
    jepad.ask("Predict", "sta{sv}", "words:other", 0, {})
    assert jepad.ask("Status", "b", False) == first
    assert jepad.ask("Status", "b", True) != first
    jepad.ask(*tick)
    assert jepad.ask("Status", "b", False) == ["● other?\n"]
    jepad.ask("Predict", "sta{sv}", "words:jepad", 0, {})
    jepad.ask(*tick)


def test_options_reach_the_service_and_are_never_cached(jepad):
    options = {"a": Variant("s", "x"), "b": Variant("v", Variant("i", 1))}
    assert jepad.ask("Predict", "sta{sv}", "cpu", 9, options)[0]["source_n"].value == 2
    assert jepad.ask("Predict", "sta{sv}", "cpu", 9, {})[0]["source_n"].value == 0


def test_the_world_state_is_an_asv(jepad):
    state = jepad.ask("GetWorldState")[0]
    assert state["source_n"].signature == "x"
    assert state["anomaly_series"].signature == "as"
    assert unwrap(state["risks"]) == {"io": 0.1}


def test_status_and_streams(jepad):
    assert jepad.ask("Status", "b", True)[0].startswith("\033[32m")
    assert jepad.ask("Status", "b", False)[0] == "● jepad?\n"
    (stream,) = jepad.ask("ListStreams")[0]
    assert {k: (v.signature, v.value) for k, v in stream.items()} == {
        "name": ("s", "telemetry"),
        "shape": ("at", [3]),
        "dtype": ("s", "float64"),
        "head": ("x", -1),
        "state": ("s", "live"),
    }


def test_log_control_reads_and_sets(jepad):
    where = {"path": "/org/freedesktop/LogControl1"}
    name = "org.freedesktop.LogControl1"
    for key, value in (("LogLevel", "debug"), ("LogTarget", "console"), ("LogLevel", "info")):
        jepad.ask("Set", "ssv", name, key, Variant("s", value), **where)
        assert jepad.ask("Get", "ss", name, key, **where)[0].value == value
    assert jepad.ask("Get", "ss", name, "SyslogIdentifier", **where)[0].value == "jepad"
    for key, value in (
        ("LogLevel", Variant("s", "loud")),
        ("LogTarget", Variant("s", "kmsg")),
        ("LogLevel", Variant("i", 3)),
    ):
        with pytest.raises(Refused, match="InvalidArgs"):
            jepad.ask("Set", "ssv", name, key, value, **where)


def test_an_adapter_that_differs_from_its_xml_is_not_built():
    with pytest.raises(ValueError, match="differ"):
        Adapter(schema.load("org.jepad1.Resource"), {"Extra": lambda call: None})

"""PredictAction over the bus: its types, what is refused, what one caller may spend."""

import asyncio
import json

import pytest

from jepad.bus.connection import Refused
from jepad.bus.seam import Variant
from jepad.bus.world_model import COSTS

from .conftest import served

SIGNATURE = "ssa{sv}ta{sv}"
UNIT = {"unit": Variant("s", "app.slice")}
INVALID = "org.jepad1.Error.InvalidArgument"


def ask(jepad, parameters=UNIT, options=None, **other):
    args = {"domain": "unit", "action": "freeze", "horizon": 60_000_000} | other
    return jepad.ask(
        "PredictAction", SIGNATURE, args["domain"], args["action"], parameters, args["horizon"],
        options or {},
    )[0]  # fmt: skip


def understood(answer):
    """Domain and steps as the service got them."""
    return json.loads(answer["series"].value[0])


def then(*steps):
    return {"then": Variant("a(ssdt)", [list(s) for s in steps])}


def test_the_answer_has_the_declared_types(jepad):
    answer = ask(jepad)
    assert {k: v.signature for k, v in answer.items()} == {
        "series": "as", "units": "as", "horizon_usec": "t", "without": "a(ddd)", "with": "a(ddd)",
        "difference": "a(ddd)", "unit": "s", "confidence": "d", "part": "s", "model": "s",
        "age_usec": "t", "source_n": "x", "actions": "as",
    }  # fmt: skip
    assert [list(row) for row in answer["difference"].value] == [[-2, -1, 0]]


def test_steps_come_on_request(jepad):
    steps = ask(jepad, options={"steps": Variant("b", True)})["steps"]
    assert steps.signature == "aa{sv}"
    assert [{k: v.signature for k, v in s.items()} for s in steps.value] == 2 * [
        {"horizon_usec": "t", "without": "a(ddd)", "with": "a(ddd)", "difference": "a(ddd)"}
    ]
    assert "steps" not in ask(jepad, options={"steps": Variant("b", False)})


@pytest.mark.parametrize(
    "value",
    [("d", 512.0), *((kind, 512) for kind in "txuiqn"), ("v", Variant("i", 512))],
)
def test_a_value_is_any_number(jepad, value):
    parameters = UNIT | {"value": Variant(*value)}
    got = understood(ask(jepad, parameters, action="memory.high"))
    assert got == ["unit", [["memory.high", "app.slice", 512.0, 0]]]


def test_a_sequence_is_an_array_of_structs(jepad):
    options = then(("thaw", "app.slice", 0.0, 30_000_000), ("drop_caches", "", 0.0, 1))
    got = understood(ask(jepad, options=options))[1]
    assert [s[0] for s in got] == ["freeze", "thaw", "drop_caches"]
    assert [s[3] for s in got] == [0, 30_000_000, 1]


def test_asked_anew_each_time(jepad):
    before = jepad.facts()["asked"]
    ask(jepad)
    ask(jepad)
    assert jepad.facts()["asked"] == before + 2


@pytest.mark.parametrize(
    ("parameters", "options", "other"),
    [
        ({"unit": Variant("i", 1)}, {}, {}),
        ({"unit": Variant("as", ["a"])}, {}, {}),
        ({"unit": Variant("s", "x" * 256)}, {}, {}),
        ({"value": Variant("s", "512M")}, {}, {}),
        ({"value": Variant("b", True)}, {}, {}),
        ({"value": Variant("d", float("nan"))}, {}, {}),
        ({"value": Variant("d", float("-inf"))}, {}, {}),
        ({"value": Variant("ad", [1.0])}, {}, {}),
        ({"colour": Variant("s", "red")}, {}, {}),
        ({"a b": Variant("s", "red")}, {}, {}),
        ({f"p{i}": Variant("i", i) for i in range(17)}, {}, {}),
        (UNIT, {"steps": Variant("s", "yes")}, {}),
        (UNIT, {"steps": Variant("i", 1)}, {}),
        (UNIT, {"later": Variant("i", 1)}, {}),
        (UNIT, {"then": Variant("s", "thaw")}, {}),
        (UNIT, {"then": Variant("as", ["thaw"])}, {}),
        (UNIT, {"then": Variant("a(ss)", [["thaw", "a"]])}, {}),
        (UNIT, {"then": Variant("a(ssst)", [["thaw", "a", "b", 1]])}, {}),
        (UNIT, {"then": Variant("a(ssds)", [["thaw", "a", 0.0, "b"]])}, {}),
        (UNIT, {"then": Variant("a(ssdb)", [["thaw", "a", 0.0, True]])}, {}),
        (UNIT, {"then": Variant("a(ssdx)", [["thaw", "a", 0.0, -5]])}, {}),
        (UNIT, {"then": Variant("a{sv}", {"thaw": Variant("i", 1)})}, {}),
        (UNIT, then(("thaw", "a", 0.0, 0)), {}),
        (UNIT, then(("thaw", "a", 0.0, 2**64 - 1)), {}),
        (UNIT, then(("thaw", "a", float("nan"), 1)), {}),
        (UNIT, then(("thaw", "x" * 300, 0.0, 1)), {}),
        (UNIT, then(("a\nb", "a", 0.0, 1)), {}),
        (UNIT, then(*[("thaw", "a", 0.0, 1)] * 4), {}),
        (UNIT, then(*[("thaw", "a", 0.0, 1)] * 400), {}),
        (UNIT, {}, {"horizon": 2**64 - 1}),
        (UNIT, {}, {"domain": ""}),
        (UNIT, {}, {"domain": "x" * 256}),
        (UNIT, {}, {"domain": "a\nb"}),
        (UNIT, {}, {"action": ""}),
        (UNIT, {}, {"action": "free ze"}),
        (UNIT, {}, {"action": "x" * 5000}),
    ],
)
def test_what_does_not_fit_is_refused_in_words(jepad, parameters, options, other):
    before = jepad.facts()["asked"]
    with pytest.raises(Refused) as caught:
        ask(jepad, parameters, options, **other)
    assert caught.value.name == INVALID
    assert len(str(caught.value)) < 300
    assert jepad.facts()["asked"] == before


@pytest.mark.parametrize(
    "unit", ["../../etc/passwd", "/", "a\nb\x1b[2J", "*", "ü", "%s%n", "app.slice/$(reboot)", ""]
)
def test_any_name_of_a_unit_is_only_a_name(jepad, unit):
    got = understood(ask(jepad, {"unit": Variant("s", unit)}))
    assert got[1][0][1] == unit


def test_nested_variants_go_no_deeper_than_the_bus_allows(jepad):
    value = Variant("d", 1.0)
    for _ in range(20):
        value = Variant("v", value)
    assert understood(ask(jepad, UNIT | {"value": value}))[1][0][2] == 1.0


def test_a_wrong_signature_gets_the_standard_error(jepad):
    for call in (("PredictAction", "s", "cpu"), ("PredictAction", "sta{sv}", "cpu", 1, {})):
        with pytest.raises(Refused, match="InvalidArgs"):
            jepad.ask(*call)


def test_an_exception_tells_the_caller_nothing(jepad):
    with pytest.raises(Refused) as caught:
        ask(jepad, {"unit": Variant("s", "boom")})
    assert caught.value.name == "org.jepad1.Error.Internal"
    assert "secret" not in str(caught.value)


def test_few_questions_of_one_user_may_wait(jepad):
    async def body():
        async with jepad.connect() as peer:
            slow = {"unit": Variant("s", "slow")}
            message = [
                jepad.message("PredictAction", SIGNATURE, "unit", "freeze", slow, 0, {})
                for _ in range(6)
            ]
            calls = [asyncio.ensure_future(peer.call(m)) for m in message]
            found = await asyncio.gather(*calls, return_exceptions=True)
            return [r.name if isinstance(r, Refused) else "" for r in found]

    limited = "org.jepad1.Error.RateLimited"
    assert asyncio.run(body()) == ["", "", "", "", limited, limited]


def test_a_flood_is_held_off_and_costs_no_model(bus, tmp_path):
    """Ten thousand at once: as many are answered as the budget holds, the rest is told when."""

    async def flood(jepad):
        async with jepad.connect() as peer:
            found = []
            for _ in range(100):
                message = [
                    jepad.message("PredictAction", SIGNATURE, "unit", "freeze", UNIT, 0, {})
                    for _ in range(100)
                ]
                calls = [asyncio.ensure_future(peer.call(m)) for m in message]
                found += await asyncio.gather(*calls, return_exceptions=True)
            return found

    with served(bus, "dbus-fast", tmp_path, str(3 * COSTS["PredictAction"])) as jepad:
        found = asyncio.run(flood(jepad))
        refused = [r for r in found if isinstance(r, Refused)]
        assert len(found) - len(refused) >= 3
        assert len(refused) > 9000
        assert {r.name for r in refused} == {"org.jepad1.Error.RateLimited"}
        assert "retry-after: " in str(refused[-1])
        assert jepad.process.poll() is None

"""Signals: what is told, in which shape, and no more often than once a second."""

import asyncio

from jepad.bus import schema
from jepad.bus.changes import Changes
from jepad.bus.dispatch import Adapter
from jepad.bus.resources import INTERVAL_S, AlertSignals
from jepad.bus.seam import Variant
from jepad.bus.variants import unwrap
from jepad.policy.alerts import Alert
from jepad.records import Risk

RULE = "type='signal',path_namespace='/org/jepad1'"
RISK = Risk("io", 0.5, float("inf"), 60.0, "odd\udcff\0name", "cause")


def listen(jepad, commands, count):
    """The first signals seen while commands run."""
    got = []

    async def body():
        async with jepad.connect() as peer:
            enough = asyncio.Event()

            def take(message, _size):
                if message.path.startswith("/org/jepad1"):
                    got.append(message)
                    if len(got) == count:
                        enough.set()

            peer.on_message = take
            await peer.call_bus("AddMatch", "s", RULE)
            for command in commands:
                options = {"uncached": Variant("b", True)}
                await peer.call(jepad.message("Predict", "sta{sv}", command, 0, options))
            await asyncio.wait_for(enough.wait(), 20)

    asyncio.run(body())
    return got


def test_raised_and_cleared_have_their_arguments(jepad):
    (raised,) = listen(jepad, ["raise:1"], 1)
    assert (raised.path, raised.interface) == ("/org/jepad1/resource", "org.jepad1.Resource")
    assert (raised.member, raised.signature) == ("PredictionRaised", "osdta{sv}")
    path, domain, probability, eta, why = unwrap(raised.body)
    assert (path, domain) == ("/org/jepad1/prediction/1", "memory")
    assert (probability, eta) == (0.9, 120_000_000)
    assert why == {
        "unit": "app.slice",
        "cause": "app.slice grows",
        "horizon_usec": 600_000_000,
        "evidence": {"mem.MemAvailable": 1.0},
    }
    (cleared,) = listen(jepad, ["clear:1"], 1)
    assert (cleared.member, cleared.body) == ("PredictionCleared", ["/org/jepad1/prediction/1"])


def test_a_change_is_told_with_its_value(jepad):
    (changed,) = listen(jepad, ["state:degraded"], 1)
    assert (changed.path, changed.member) == ("/org/jepad1", "PropertiesChanged")
    assert unwrap(changed.body) == ["org.jepad1.Manager", {"State": "degraded"}, []]


class Timers:
    """A loop that moves by hand."""

    def __init__(self):
        self.calls = []

    def call_later(self, seconds, work):
        self.calls.append((seconds, work))
        return self

    def pass_one(self):
        assert self.calls[0][0] == INTERVAL_S
        self.calls.pop(0)[1]()


def alerts():
    told, timers = [], Timers()
    signals = AlertSignals(
        lambda member, *body: told.append((member, body[0][-1])), timers.call_later
    )
    return told, timers, signals


def test_alert_signals_leave_one_at_a_time_in_order():
    told, timers, signals = alerts()
    for number in (1, 2, 3):
        signals.raised(Alert(number, RISK, 0))
    signals.cleared(Alert(1, RISK, 0))
    assert told == [("PredictionRaised", "1")]
    timers.pass_one()
    timers.pass_one()
    timers.pass_one()
    assert told[1:] == [
        ("PredictionRaised", "2"),
        ("PredictionRaised", "3"),
        ("PredictionCleared", "1"),
    ]
    timers.pass_one()
    assert timers.calls == []
    signals.raised(Alert(4, RISK, 0))
    assert told[-1] == ("PredictionRaised", "4")


def test_what_was_cleared_before_its_turn_is_not_told():
    told, timers, signals = alerts()
    signals.raised(Alert(1, RISK, 0))
    signals.raised(Alert(2, RISK, 0))
    signals.cleared(Alert(2, RISK, 0))
    timers.pass_one()
    assert told == [("PredictionRaised", "1")]


def test_names_of_units_with_odd_bytes_can_be_sent():
    sent = []
    signals = AlertSignals(lambda _member, *body: sent.append(body), Timers().call_later)
    signals.raised(Alert(1, RISK, 0))
    _, _, _, eta, why = sent[0]
    assert eta == 2**64 - 1
    assert why["unit"].value == "odd?name"


def test_changes_are_told_once_a_second_with_their_last_value():
    now, values, told = [100.0], {"State": "a", "Mode": "m", "ModelId": "", "Version": "1"}, []
    manager = schema.load("org.jepad1.Manager")
    adapter = Adapter(
        manager,
        dict.fromkeys(manager.methods, lambda _call: None),
        {name: (lambda n=name: values.get(n, 0.0)) for name in manager.properties},
    )
    changes = Changes(
        {"/p": adapter}, lambda *what: told.append((*what[:2], unwrap(what[2]))), lambda: now[0]
    )
    changes.tell()
    assert told == []  # what was so when we came is no change
    for state in "bcd":
        values["State"] = state
        now[0] += 0.3
        changes.tell()
    assert told == [("/p", "org.jepad1.Manager", {"State": "b"})]
    values["Version"] = "2"  # a constant is not watched
    now[0] += 1.0
    changes.tell()
    assert told[1:] == [("/p", "org.jepad1.Manager", {"State": "d"})]

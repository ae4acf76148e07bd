"""Calls right and wrong: each gets one answer, in the standard's words."""

import asyncio
import os

import pytest

from jepad.bus.connection import Refused
from jepad.bus.seam import Message, MessageFlag, MessageType, Variant

STANDARD = "org.freedesktop.DBus.Error."
WM = "org.jepad1.WorldModel"
PREDICT = ("Predict", "sta{sv}")


def refusal(jepad, *call, **where):
    with pytest.raises(Refused) as caught:
        jepad.ask(*call, **where)
    return caught.value.name.removeprefix(STANDARD), str(caught.value)


def test_the_library_is_the_one_asked_for(jepad):
    assert jepad.facts()["library"] == jepad.library.replace("-", "_")


def test_an_exception_tells_the_caller_nothing_and_the_log_everything(jepad):
    name, text = refusal(jepad, *PREDICT, "boom", 0, {})
    assert name == "org.jepad1.Error.Internal"
    for secret in ("Traceback", "ZeroDivision", "secret", ".py", "boom"):
        assert secret not in text
    log = jepad.log.read_text()
    assert "Traceback" in log
    assert "/very/secret/path" in log


def test_an_answer_that_cannot_be_sent_is_an_internal_error_too(jepad):
    assert refusal(jepad, *PREDICT, "bad", 0, {})[0] == "org.jepad1.Error.Internal"
    assert jepad.ask("Ping") == []


def test_our_errors_keep_their_name_and_words(jepad):
    name, text = refusal(jepad, *PREDICT, "missing", 0, {})
    assert name == "org.jepad1.Error.NotFound"
    assert "no such domain?" in text


@pytest.mark.parametrize(
    ("call", "where", "name"),
    [
        (("Predict", "s", "cpu"), {}, "InvalidArgs"),
        (("Predict", "sxa{sv}", "cpu", 1, {}), {"interface": WM}, "InvalidArgs"),
        (("Predict",), {"interface": WM}, "InvalidArgs"),
        (("Nothing",), {"interface": WM}, "UnknownMethod"),
        (("Nothing",), {}, "UnknownMethod"),
        (("Describe",), {"interface": WM}, "UnknownMethod"),
        (("Describe",), {"interface": "org.jepad1.Nothing"}, "UnknownInterface"),
        (("Describe",), {"path": "/org/jepad1/resource"}, "UnknownMethod"),
        (("Describe",), {"path": "/org/nobody"}, "UnknownObject"),
        (("Describe",), {"path": "/" + "x" * 5000}, "UnknownObject"),
        (("Get", "ss", "org.jepad1.Manager", "Nothing"), {}, "UnknownProperty"),
        (("Get", "ss", "org.jepad1.Nothing", "State"), {}, "UnknownInterface"),
        (("Get", "ss", "", "Nothing"), {}, "UnknownProperty"),
        (("GetAll", "s", "org.jepad1.Nothing"), {}, "UnknownInterface"),
        (("Set", "ssv", "org.jepad1.Manager", "State", Variant("s", "x")), {}, "PropertyReadOnly"),
    ],
)
def test_a_wrong_call_gets_the_standard_error(jepad, call, where, name):
    assert refusal(jepad, *call, **where)[0] == name


@pytest.mark.parametrize(
    ("domain", "horizon", "options"),
    [
        ("", 0, {}),
        ("x" * 256, 0, {}),
        ("cpu\n", 0, {}),
        ("../../etc", 2**63, {}),
        ("cpu", 0, {"a b": Variant("s", "x")}),
        ("cpu", 0, {f"o{i}": Variant("b", True) for i in range(17)}),
    ],
)
def test_arguments_out_of_bounds_are_refused(jepad, domain, horizon, options):
    name, _ = refusal(jepad, *PREDICT, domain, horizon, options)
    assert name == "org.jepad1.Error.InvalidArgument"


def test_a_call_without_interface_finds_its_only_member(jepad):
    with_it = jepad.ask(*PREDICT, "cpu", 7, {}, interface=WM)[0]
    without = jepad.ask(*PREDICT, "cpu", 7, {})[0]
    assert with_it["horizon_usec"].value == without["horizon_usec"].value == 7


def test_one_too_long_call_is_refused_unread_and_the_next_is_answered(jepad):
    async def body():
        async with jepad.connect() as peer:
            huge = jepad.message("Predict", "ai", [0] * 4_000_000)  # 16 MB
            with pytest.raises(Refused, match=r"LimitsExceeded: .* too long"):
                await peer.call(huge, 20)
            return (await peer.call(jepad.message("Ping"))).body

    assert asyncio.run(body()) == []


def test_a_call_that_wants_no_reply_gets_none(jepad):
    got = []

    async def body():
        async with jepad.connect() as peer:
            receive = peer._receive

            def note(message, size):
                if message.reply_serial:  # a signal of the bus may come in between
                    got.append(message.reply_serial)
                receive(message, size)

            peer._receive = note
            for member in ("Ping", "Nothing"):
                message = jepad.message(member)
                message.flags = MessageFlag.NO_REPLY_EXPECTED
                peer.send(message)
            last = jepad.message("Ping")
            await peer.call(last)
            return last.serial

    assert [asyncio.run(body())] == got


def test_calls_of_one_sender_are_answered_in_order(jepad):
    async def body():
        async with jepad.connect() as peer:
            order = []
            calls = []
            for i in range(300):
                call = asyncio.ensure_future(peer.call(jepad.message(*PREDICT, "cpu", i, {})))
                call.add_done_callback(
                    lambda c: order.append(c.result().body[0]["horizon_usec"].value)
                )
                calls.append(call)
                if i == 20:
                    await asyncio.sleep(0.001)
            await asyncio.gather(*calls)
            return order

    assert asyncio.run(body()) == list(range(300))


@pytest.mark.parametrize("member", ["Ping", "Nothing", "Reload"])
def test_descriptors_nobody_asked_for_are_closed(jepad, member):
    before = jepad.facts()["fds"]

    async def body():
        async with jepad.connect() as peer:
            for _ in range(40):
                message = jepad.message(member, "h", 0)
                fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
                with pytest.raises(Refused):
                    await peer.call(message, fds=fds)

    asyncio.run(body())
    assert jepad.facts()["fds"] == before


def test_unknown_flags_do_no_harm(jepad):
    async def body():
        async with jepad.connect() as peer:
            message = jepad.message("Ping")
            message.flags = MessageFlag(0x80 | MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)
            return (await peer.call(message)).body

    assert asyncio.run(body()) == []


def test_peer_works_on_every_object_and_node(jepad):
    for path in (
        "/",
        "/org",
        "/org/jepad1",
        "/org/jepad1/resource",
        "/org/freedesktop/LogControl1",
    ):
        assert jepad.ask("Ping", path=path) == []
    machine_id = jepad.ask("GetMachineId")[0] if os.path.exists("/etc/machine-id") else "0" * 32
    assert len(machine_id) == 32


def test_only_root_and_the_own_user_may_reload(jepad):
    jepad.ask("Reload")
    assert jepad.ask("Get", "ss", "org.jepad1.Manager", "State")[0].value == "reloaded"


def test_signals_from_strangers_are_ignored(jepad):
    async def body():
        async with jepad.connect() as peer:
            owner = (await peer.call_bus("GetNameOwner", "s", "org.jepad1")).body[0]
            peer.send(
                Message(
                    message_type=MessageType.SIGNAL,
                    destination=owner,
                    path="/org/freedesktop/DBus",
                    interface="org.freedesktop.DBus",
                    member="NameLost",
                    signature="s",
                    body=["org.jepad1"],
                )
            )
            return (await peer.call(jepad.message("Ping"))).body

    assert asyncio.run(body()) == []

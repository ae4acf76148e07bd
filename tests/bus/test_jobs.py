"""Jobs on the bus: progress, result, cancelling, and whose they are."""

import asyncio

import pytest

from jepad.bus.connection import Refused
from jepad.bus.dispatch import Tree
from jepad.bus.jobs import JobObjects
from jepad.bus.seam import Message, MessageType, Variant
from jepad.bus.variants import unwrap
from jepad.errors import BusError
from jepad.policy.jobs import Jobs, Owner

JOB = "org.jepad1.Job"
PROPERTIES = "org.freedesktop.DBus.Properties"
RETURN = MessageType.METHOD_RETURN


class Asker:
    """A connection that asks for jobs and hears of them."""

    def __init__(self, jepad, peer):
        self.jepad, self.peer = jepad, peer
        self.heard = asyncio.Queue()
        peer.on_message = lambda message, _size: self.heard.put_nowait(message)

    async def call(self, member, signature="", *body, path="/org/jepad1", interface=None):
        reply = await self.peer.call(
            self.jepad.message(member, signature, *body, path=path, interface=interface)
        )
        return reply.body

    async def plan(self, want, seconds=0.0, domain="memory", **options):
        goal = {"want": Variant("as", [want]), "horizon_usec": Variant("t", int(seconds * 1e6))}
        return (await self.call("Plan", "sa{sv}a{sv}", domain, goal, options))[0]

    async def get(self, path, name):
        body = await self.call("Get", "ss", JOB, name, path=path, interface=PROPERTIES)
        value = unwrap(body[0])
        return list(value) if isinstance(value, tuple) else value  # as the library pleases

    async def finished(self, path):
        """Signals of the job up to its end, as (member, plain arguments)."""
        seen = []
        async with asyncio.timeout(20):
            while True:
                message = await self.heard.get()
                if message.message_type is MessageType.SIGNAL and message.path == path:
                    seen.append((message.member, unwrap(message.body)))
                    if message.member == "Finished":
                        return seen


async def known(asker, path):
    """Whether there is still a job."""
    try:
        return await asker.get(path, "State")
    except Refused:
        return ""


def asking(jepad, body):
    """Run `body(asker)` on a connection of its own."""

    async def run():
        async with jepad.connect() as peer:
            return await body(Asker(jepad, peer))

    return asyncio.run(run())


def test_a_job_tells_its_progress_its_end_and_its_result(jepad):
    async def body(asker):
        path = await asker.plan("x >= 1", 0.5, actions=Variant("as", ["freeze"]))
        assert path.startswith("/org/jepad1/job/")
        assert await asker.get(path, "State") == "running"
        assert await asker.get(path, "Result") == {}
        told = await asker.finished(path)
        result = await asker.get(path, "Result")
        assert await asker.get(path, "Error") == ["", ""]
        return told, result

    told, result = asking(jepad, body)
    assert told[-1] == ("Finished", ["done", ""])
    last = told[-2][1][1]
    assert (last["State"], list(last["Progress"])) == ("done", [100, "x >= 1 99", 1])
    going = [list(m[1][1]["Progress"]) for m in told[:-2]]
    assert 1 <= len(going) <= 10
    assert all(p[0] < 100 and p[1].startswith("x >= 1") and p[2] == 1 for p in going)
    assert [p[0] for p in going] == sorted(p[0] for p in going)
    assert result["action"] == "freeze"
    assert result["tried"] == [{"action": "freeze", "energy": 0.5}]
    assert result["wants"] == ["x >= 1", "memory", "freeze"]
    assert result["applied"] is False


def test_a_job_is_introspected_and_listed_for_its_owner(jepad):
    async def body(asker):
        path = await asker.plan("x >= 1", 5)
        (document,) = await asker.call("Introspect", path=path)
        (above,) = await asker.call("Introspect", path="/org/jepad1/job")
        (objects,) = await asker.call("GetManagedObjects")
        await asker.call("Cancel", path=path, interface=JOB)
        return path, document, above, objects

    path, document, above, objects = asking(jepad, body)
    assert f'interface name="{JOB}"' in document
    assert f'<node name="{path.rpartition("/")[2]}"/>' in above
    assert unwrap(objects[path][JOB]["State"]) == "running"


def test_cancelling_ends_it_once(jepad):
    async def body(asker):
        path = await asker.plan("x >= 1", 60)
        await asker.call("Cancel", path=path, interface=JOB)
        told = await asker.finished(path)
        await asker.call("Cancel", path=path, interface=JOB)
        return told, await asker.get(path, "State"), await asker.get(path, "Result")

    told, state, result = asking(jepad, body)
    assert told[-1] == ("Finished", ["cancelled", ""])
    assert (state, result) == ("cancelled", {})


@pytest.mark.parametrize(
    ("want", "error"),
    [
        ("missing", ["org.jepad1.Error.NotFound", "no such thing?"]),
        ("boom", ["org.jepad1.Error.Internal", "internal error of jepad. See: journalctl"]),
    ],
)
def test_a_job_that_fails_says_why_and_gives_nothing_away(jepad, want, error):
    async def body(asker):
        path = await asker.plan(want)
        told = await asker.finished(path)
        return told, await asker.get(path, "Error")

    told, found = asking(jepad, body)
    assert told[-1][1][0] == "failed"
    assert found[0] == error[0]
    assert found[1].startswith(error[1])
    assert told[-1][1][1] == found[1]
    assert "secret" not in str(told)


def test_what_is_refused_at_once_is_no_job(jepad):
    async def body(asker):
        with pytest.raises(Refused, match="no series"):
            await asker.plan("refused")
        with pytest.raises(Refused, match="UnknownObject"):
            await asker.get("/org/jepad1/job/99999", "State")

    asking(jepad, body)


@pytest.mark.parametrize(
    ("goal", "options"),
    [
        ({}, {}),
        ({"want": ("u", 7)}, {}),
        ({"want": ("au", [7])}, {}),
        ({"want": ("as", ["x"] * 17)}, {}),
        ({"want": ("s", "x"), "horizon_usec": ("d", 1.0)}, {}),
        ({"want": ("s", "x"), "horizon_usec": ("b", True)}, {}),
        ({"want": ("s", "x"), "horizon_usec": ("t", 2**63)}, {}),
        ({"want": ("s", "x"), "why": ("s", "")}, {}),
        ({"want": ("s", "x")}, {"act": ("b", True)}),
        ({"want": ("s", "x")}, {"actions": ("s", "freeze")}),
        ({"want": ("s", "x")}, {"actions": ("as", ["a\n"])}),
        ({"want": ("s", "x")}, {"units": ("as", ["x" * 256])}),
        ({"want": ("s", "x")}, {"units": ("au", [3])}),
    ],
)
def test_goals_that_do_not_fit_are_refused(jepad, goal, options):
    given = [{k: Variant(*v) for k, v in part.items()} for part in (goal, options)]
    with pytest.raises(Refused, match="InvalidArgument"):
        jepad.ask("Plan", "sa{sv}a{sv}", "memory", *given)


def test_two_jobs_of_a_user_run_at_a_time(jepad):
    async def body(asker):
        paths = [await asker.plan("x >= 1", 60) for _ in range(2)]
        with pytest.raises(Refused, match="RateLimited"):
            await asker.plan("x >= 1", 60)
        await asker.call("Cancel", path=paths[0], interface=JOB)
        return await asker.plan("x >= 1", 60), paths

    third, paths = asking(jepad, body)
    assert third not in paths


def test_jobs_end_when_their_caller_leaves(jepad):
    """Under either library, with jobs that run and jobs that have ended."""

    async def body(asker):
        running = await asker.plan("x >= 1", 60)
        ended = await asker.plan("x >= 1")
        await asker.finished(ended)
        return [running, ended]

    paths = asking(jepad, body)

    async def gone(asker):
        async with asyncio.timeout(20):
            for path in paths:
                while await known(asker, path):
                    await asyncio.sleep(0.01)

    asking(jepad, gone)


def test_a_caller_that_hangs_up_at_once_leaves_no_job(jepad):
    """The call is on its way when its connection ends."""

    async def run():
        goal = {"want": Variant("as", ["x >= 1"]), "horizon_usec": Variant("t", 60_000_000)}
        for _ in range(20):
            async with jepad.connect() as peer:
                peer.send(jepad.message("Plan", "sa{sv}a{sv}", "memory", goal, {}))
        async with jepad.connect() as peer:
            asker = Asker(jepad, peer)
            async with asyncio.timeout(20):
                while True:
                    (objects,) = await asker.call("GetManagedObjects")
                    if not [path for path in objects if "/job/" in path]:
                        return await asker.plan("x >= 1")

    assert "/job/" in asyncio.run(run())


def test_signals_go_to_the_asker_alone(jepad):
    async def run():
        async with jepad.connect() as mine, jepad.connect() as other:
            for peer in (mine, other):
                await peer.call_bus("AddMatch", "s", f"type='signal',interface='{JOB}'")
            asker, listener = Asker(jepad, mine), Asker(jepad, other)
            path = await asker.plan("x >= 1", 0.2)
            await asker.finished(path)
            await listener.call("Ping")
            return listener.heard.qsize()

    assert asyncio.run(run()) == 0


class Leaving:
    """A bus on which the caller hangs up right after it was said to be there."""

    def __init__(self):
        self.calls, self.objects = [], None

    async def call_bus(self, member, signature, name):
        self.calls.append(member)
        if member == "NameHasOwner":
            self.objects.left(":1.7")
        return Message(body=[True], signature="b", reply_serial=1, message_type=RETURN)

    def send(self, message, fds=()):
        self.calls.append(message.member)


def test_a_caller_that_leaves_while_it_is_looked_for_gets_no_job():
    async def body():
        bus, tree = Leaving(), Tree()
        jobs = Jobs()
        bus.objects = JobObjects(jobs, tree, bus)
        with pytest.raises(BusError, match="not on the bus"):
            async with bus.objects.staying(":1.7"):
                jobs.start(Owner(1, ":1.7"), None)
        return bus.calls, tree.objects

    calls, objects = asyncio.run(body())
    assert calls == ["AddMatch", "NameHasOwner", "RemoveMatch"]
    assert objects == {}

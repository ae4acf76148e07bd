"""Link and door together: parts travel, calls are told apart, a deadline is kept."""

import asyncio
import os
import stat
import threading

import pytest
import zmq

from jepad.errors import EngineError, Late, NotReady, SettingError
from jepad.worker.door import Door
from jepad.worker.link import Link
from jepad.worker.tongue import Refused

from .test_tongue import TONGUE, Ask, Said


@pytest.fixture
def runtime(prefix):
    path = f"/tmp/{prefix}"  # tmp_path may be too long for a socket
    yield path
    for name in os.listdir(path) if os.path.isdir(path) else ():
        os.unlink(f"{path}/{name}")
    if os.path.isdir(path):
        os.rmdir(path)


class Parrot:
    """Says every word again with its parts reversed; "silence" gets no answer."""

    def __init__(self, runtime):
        self.door = Door(runtime, TONGUE)
        self._thread = threading.Thread(target=self._run)
        self._done = False

    def __enter__(self):
        self._thread.start()
        return self.door

    def __exit__(self, *_):
        self._done = True
        self._thread.join()
        self.door.close()

    def _run(self):
        while not self._done:
            self.door.wait(20)
            for request, parts, answer in self.door.receive():
                if request.word == "refuse":
                    answer(Refused(request.id, NotReady.bus_name, "not yet"))
                elif request.word != "silence":
                    answer(Said(request.id, request.word), list(parts)[::-1])


def say(runtime, *words, timeout=5.0, parts=()):
    async def run():
        link = Link(f"ipc://{runtime}/parrot.sock", TONGUE)
        try:
            return await asyncio.gather(
                *(link.ask(Said, lambda n, d, w=w: Ask(n, d, w), timeout, parts) for w in words)
            )
        finally:
            await link.close()

    return asyncio.run(run())


def test_answers_find_their_calls(runtime):
    with Parrot(runtime):
        heard = say(runtime, *"abcdefgh", parts=[b"1", b"2"])
    assert [one.reply.word for one in heard] == list("abcdefgh")
    assert [list(one.parts) for one in heard] == [[b"2", b"1"]] * 8


def test_no_answer_is_late_and_a_refusal_is_its_error(runtime):
    with Parrot(runtime):
        with pytest.raises(Late, match=r"the parrot gave no answer within 0\.1 s"):
            say(runtime, "silence", timeout=0.1)
        with pytest.raises(NotReady, match="not yet"):
            say(runtime, "refuse")
    with pytest.raises(Late):
        say(runtime, "a", timeout=0.1)


def test_noise_is_counted_and_answered_where_it_can_be(runtime):
    with Parrot(runtime) as door:
        with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
            peer.setsockopt(zmq.LINGER, 0)
            peer.connect(f"ipc://{runtime}/parrot.sock")
            peer.send(b"noise")
            assert isinstance(TONGUE.read_reply(peer.recv()), Refused)
            peer.send_multipart([b"too", b"many", b"parts", b"here"])
        say(runtime, "a")
        assert door.counts.malformed == 2
        assert door.counts.requests == 1


def test_the_socket_is_ours_alone(runtime):
    door = Door(runtime, TONGUE, "other")
    try:
        assert stat.S_IMODE(os.stat(f"{runtime}/other.sock").st_mode) == 0o600
        with pytest.raises(EngineError, match="another parrot runs"):
            Door(runtime, TONGUE, "other")
        Door(runtime, TONGUE, "third").close()
    finally:
        door.close()
    os.chmod(runtime, 0o777)
    with pytest.raises(SettingError, match="others may write there"):
        Door(runtime, TONGUE)


def test_a_descriptor_wakes_it(runtime):
    door = Door(runtime, TONGUE)
    event = os.eventfd(0)
    try:
        door.wake_by(event)
        assert not door.wait(0)
        os.eventfd_write(event, 1)
        assert door.wait(1000)
    finally:
        os.close(event)
        door.close()


def failing(runtime, everything, *words):
    """What becomes of calls when the worker is said to be gone."""

    async def run():
        link = Link(f"ipc://{runtime}/parrot.sock", TONGUE)
        calls = [
            asyncio.ensure_future(link.ask(Said, lambda n, d, w=w: Ask(n, d, w), 60.0))
            for w in words
        ]
        try:
            await asyncio.sleep(0.5)
            link.fail(EngineError("the parrot ended: a cat"), everything)
            done, _ = await asyncio.wait(calls, timeout=10)
            return [call.exception() for call in calls if call in done]
        finally:
            for call in calls:
                call.cancel()
            await link.close()

    return asyncio.run(run())


def test_calls_end_with_their_worker(runtime):
    with Parrot(runtime):
        errors = failing(runtime, False, "silence", "silence")
    assert [str(error) for error in errors] == ["the parrot ended: a cat"] * 2
    assert {type(error) for error in errors} == {EngineError}


def test_calls_that_wait_for_a_worker_end_when_none_will_come(runtime):
    os.mkdir(runtime)
    assert [str(error) for error in failing(runtime, True, "a")] == ["the parrot ended: a cat"]


def test_closed_it_leaves_no_call_waiting(runtime):
    async def run():
        link = Link(f"ipc://{runtime}/parrot.sock", TONGUE)
        call = asyncio.ensure_future(link.ask(Said, lambda n, d: Ask(n, d, "silence"), 60.0))
        await asyncio.sleep(0.1)
        await link.close()
        async with asyncio.timeout(10):
            with pytest.raises(EngineError, match="not asked any more"):
                await call

    with Parrot(runtime):
        asyncio.run(run())


def test_what_breaks_a_record_is_answered_at_once(runtime):
    async def run():
        link = Link(f"ipc://{runtime}/parrot.sock", TONGUE)
        try:
            async with asyncio.timeout(30):
                with pytest.raises(EngineError, match="not a request"):
                    await link.ask(Said, lambda n, d: Ask(n, d, 5), 600.0)
        finally:
            await link.close()

    with Parrot(runtime):
        asyncio.run(run())

"""A real engine process on a real stream: what it publishes, what it answers, how it ends."""

import asyncio
import os
import signal
import socket
import stat
import time

import msgspec
import numpy as np
import pytest
import zmq

from jepad.engine import wire
from jepad.engine.client import EngineClient
from jepad.errors import EngineError, ModelError, NotFound, NotReady, RingError
from jepad.models import store
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream, listing
from jepad.ring.writer import Writer

from .conftest import PATIENCE_S, SOURCES, Telemetry, until


def opened(places, name):
    """The stream, once it has a record."""

    def look():
        try:
            stream = Stream(places.shm_prefix, name)
        except (NotFound, RingError):
            return None
        return stream if stream.head >= 0 else stream.close()

    return until(look)


def ask(places, calls):
    """Run `calls(client)` against the engine once it answers."""

    async def run():
        async with EngineClient(places.engine_socket) as client:
            await client.ping(timeout=PATIENCE_S)
            return await calls(client)

    return asyncio.run(run())


def checked(frame, header):
    """A record of predictions.machine that keeps every promise."""
    series, horizons = header.schema["series"], header.schema["horizons_s"]
    assert horizons == [1, 4, 16, 64, 160, 640]
    assert header.schema["columns"] == ["p10", "p50", "p90", "p_rise", "weight"]
    assert frame.array.shape == (len(series), 6, 5)
    quantiles, p_rise, weight = frame.array[..., :3], frame.array[..., 3], frame.array[..., 4]
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert ((p_rise >= 0) & (p_rise <= 1)).all()
    assert ((weight >= 0) & (weight <= 1)).all()
    for row, one in zip(quantiles, series, strict=True):
        assert np.isfinite(row).all(), one
        if one["unit"].endswith("/s"):
            assert (row >= 0).all(), one
    return weight


def test_forecasts_and_embeddings(places, telemetry, engine):
    engine()
    predictions = opened(places, "predictions.machine")
    digest = store.load().digest
    assert predictions.header.model_sha256.hex() == digest
    names = [s["name"] for s in predictions.header.schema["series"]]
    assert {"cpu.busy", "mem.MemAvailable", "psi.memory.some.total"} <= set(names)
    until(lambda: predictions.head >= 3)
    frame = predictions.read()
    checked(frame, predictions.header)
    assert 0 <= frame.source_n <= telemetry.n
    embeddings = opened(places, "embeddings.machine")
    record = embeddings.read()
    assert record.array.ndim == 2
    assert record.array.shape[0] == 5
    assert np.isfinite(record.array).all()
    assert record.source_n <= telemetry.n


def test_the_baseline_speaks_alone_without_a_model(places, telemetry, engine):
    engine("--model", "none", "--series", "mem.*", "--series", "psi.*.some.total")
    predictions = opened(places, "predictions.machine")
    assert not checked(predictions.read(), predictions.header).any()
    assert predictions.header.model_sha256 in (b"", bytes(32))
    assert predictions.header.schema["series"][0]["name"].startswith("mem.")
    assert "embeddings.machine" not in listing(places.shm_prefix)

    async def calls(client):
        answer = await client.predict(np.ones((20, 2)), ["a", "b"], 1.0, PATIENCE_S)
        assert answer.part == "baseline"
        with pytest.raises(NotReady):
            await client.embed(np.ones((20, 2)), ["a", "b"], 1.0)

    ask(places, calls)


def test_requests_are_answered(places, telemetry, engine):
    engine()
    opened(places, "predictions.machine")
    values = np.cumsum(np.random.default_rng(0).normal(size=(200, 3)), axis=0)
    values[:50, 1] = np.nan

    async def calls(client):
        described = await client.ask(wire.Described, wire.Describe)
        assert described.model_digest == store.load().digest
        assert described.horizons_s == (1, 4, 16, 64, 160, 640)
        assert "mem.MemFree" in described.series
        answers = await asyncio.gather(
            *(client.predict(values, ["a", "b", "c"], 60.0, PATIENCE_S) for _ in range(8))
        )
        for answer in answers:
            assert answer.part == "model"
            assert answer.horizons_s == (60, 240, 960, 3840)
            quantiles = wire.unpack(answer.quantiles)
            assert quantiles.shape == (3, 4, 3)
            assert np.isfinite(quantiles).all()
            np.testing.assert_allclose(quantiles, wire.unpack(answers[0].quantiles), rtol=1e-3)
        embedding = await client.embed(values, ["a", "b", "c"], 1.0, PATIENCE_S)
        assert embedding.shape == Stream(places.shm_prefix, "embeddings.machine").header.shape
        pong = await client.ping()
        assert pong.state == "forecasting"
        assert pong.source_n <= telemetry.n
        assert (await client.ask(wire.Counted, wire.Stats)).values["jobs"] >= 9

    ask(places, calls)


def test_malformed_messages_are_counted_and_survived(places, engine):
    engine("--model", "none")
    noise = np.random.default_rng(0)

    async def calls(client):
        with zmq.Context() as context, context.socket(zmq.DEALER) as rogue:
            rogue.linger = 1000
            rogue.connect(places.engine_socket)
            for size in (0, 1, 7, 1000):
                rogue.send(noise.bytes(size))
            rogue.send(msgspec.msgpack.encode({"type": "Ping", "id": "x", "deadline_ns": []}))
            rogue.send_multipart([b"", b"one frame", b"too many"])
            rogue.send(b"\x81" * 100_000)
            assert rogue.poll(PATIENCE_S * 1000)
            assert isinstance(wire.read_reply(rogue.recv()), wire.Refused)
            for _ in range(500):
                if (await client.ask(wire.Counted, wire.Stats)).values["malformed"] == 7:
                    break
            assert (await client.ask(wire.Counted, wire.Stats)).values["malformed"] == 7
            rogue.send(bytes(wire.MAX_MESSAGE_BYTES + 1))
            bad = wire.Array((3, 3), b"short")
            with pytest.raises(EngineError):
                await client.ask(wire.Predicted, lambda n, d: wire.Predict(n, d, bad, 1.0))
            await client.ping(PATIENCE_S)

    ask(places, calls)


def test_late_is_an_error(places, engine):
    engine("--model", "none")

    async def calls(client):
        with pytest.raises(EngineError, match="deadline"):
            await client.ask(wire.Pong, lambda n, _: wire.Ping(n, time.monotonic_ns() - 1))

    ask(places, calls)


def test_nobody_there_is_an_error(places):
    async def run():
        async with EngineClient(f"ipc://{places.runtime}/nobody.sock") as client:
            with pytest.raises(EngineError, match="no answer"):
                await client.ping(timeout=0.2)

    asyncio.run(run())


def test_other_series_make_other_streams(places, telemetry, engine):
    engine("--model", "none", "--series", "psi.*", "--series", "load1")
    before = opened(places, "predictions.machine")
    telemetry.retire()
    other = Telemetry(places.shm_prefix, ("cpu",))
    other.play()
    until(lambda: before.state == "retired")
    after = opened(places, "predictions.machine")
    names = [s["name"] for s in after.header.schema["series"]]
    assert names == ["load1"]
    checked(after.read(), after.header)
    other.retire()


def test_stops_cleanly(places, telemetry, engine):
    child = engine("--model", "none")
    predictions = opened(places, "predictions.machine")
    mode = os.stat(f"{places.runtime}/engine.sock").st_mode
    assert stat.S_IMODE(mode) == 0o600
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE_S) == 0
    assert predictions.state == "stopped"
    assert not os.path.exists(f"{places.runtime}/engine.sock")


def test_what_was_learned_is_kept(places, telemetry, engine):
    """Of each series: saved at the end, by name, ours alone; and taken up again."""
    child = engine("--model", "none", "--state", places.state)
    predictions = opened(places, "predictions.machine")
    until(lambda: predictions.head >= 20)
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE_S) == 0
    for name in ("learned", "days"):
        assert stat.S_IMODE(os.stat(f"{places.state}/{name}").st_mode) == 0o600
    with open(f"{places.state}/learned", "rb") as file:
        book = msgspec.json.decode(file.read().split(b"\n", 1)[1])
    seen = {one["name"]: one["fast"]["running"][0] for one in book["series"]}
    assert seen["mem.MemFree"] >= 20
    with open(f"{places.state}/learned", "r+b") as file:
        file.seek(200)
        file.write(b"spoiled")
    again = engine("--model", "none", "--state", places.state)
    line = again.stderr.readline()
    assert "learning starts anew" in line
    assert f"{places.state}/learned" in line
    head = predictions.head
    until(lambda: predictions.head > head + 2)


def test_other_series_of_the_same_machine_cost_no_restart(places, telemetry, engine):
    engine("--model", "none")
    before = opened(places, "predictions.machine")
    telemetry.stop()
    telemetry.writer.close()
    more = Telemetry(places.shm_prefix, (*SOURCES, "network"), telemetry)
    more.play()
    until(lambda: before.state == "retired")
    after = opened(places, "predictions.machine")
    names = [s["name"] for s in after.header.schema["series"]]
    assert len(names) > len(before.header.schema["series"])
    frame = after.read(n=0)
    old = [names.index(s["name"]) for s in before.header.schema["series"]]
    assert np.isfinite(frame.array[old, :, :3]).all()
    more.retire()


def test_transient_streams_go_with_it(places, telemetry, engine):
    child = engine("--model", "none", "--transient")
    predictions = opened(places, "predictions.machine")
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE_S) == 0
    assert predictions.state == "retired"
    assert listing(places.shm_prefix) == ["telemetry"]


def test_waits_for_telemetry_and_for_its_writer(places, engine):
    engine("--model", "none")

    async def waiting(client):
        assert (await client.ping()).state == "waiting"

    ask(places, waiting)
    made = Telemetry(places.shm_prefix)
    made.sample()
    made.writer.close()
    predictions = opened(places, "predictions.machine")
    again = Telemetry(places.shm_prefix)
    again.n = made.n
    again.sample()
    until(lambda: predictions.read().source_n == again.n)
    again.retire()


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"series": "x", "interval_s": 1.0},
        {"series": [], "interval_s": 1.0},
        {"series": [{"name": "load1", "unit": "", "semantics": "gauge"}], "interval_s": 0},
    ],
)
def test_telemetry_that_is_none_is_borne(places, engine, schema):
    bad = Writer.create(places.shm_prefix, Layout("telemetry", np.float64, (1,), schema, 4))
    bad.publish(np.zeros(1), 1)
    child = engine("--model", "none")
    assert "schema" in child.stderr.readline()

    async def waiting(client):
        assert (await client.ping()).state == "waiting"

    ask(places, waiting)
    bad.retire()
    good = Telemetry(places.shm_prefix)
    good.sample()
    opened(places, "predictions.machine")
    good.retire()


def test_two_in_one_directory(places, engine):
    engine("--model", "none")
    until(lambda: os.path.exists(f"{places.runtime}/engine.sock"))
    second = engine("--model", "none")
    assert second.wait(PATIENCE_S) == 1
    assert "another engine runs" in second.stderr.read()


def test_a_damaged_model_is_named(tmp_path, engine):
    graph = tmp_path / "machine.onnx"
    graph.write_bytes(b"not what was released")
    (tmp_path / "machine.json").write_text('{"files": {"machine.onnx": "' + "0" * 64 + '"}}')
    child = engine("--model", str(tmp_path))
    assert child.wait(PATIENCE_S) == ModelError.exit_code == 4
    assert str(graph) in child.stderr.read()


def test_wrong_flags_are_named(engine):
    child = engine("--model-every", "99")
    assert child.wait(PATIENCE_S) == 2
    assert "--model-every" in child.stderr.read()


def test_a_directory_others_write_is_refused(places, engine):
    os.mkdir(places.runtime)
    os.chmod(places.runtime, 0o777)
    child = engine("--model", "none")
    assert child.wait(PATIENCE_S) == 2
    assert places.runtime in child.stderr.read()


def test_tells_the_service_manager(tmp_path, engine):
    path = f"/tmp/{os.getpid()}.notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        os.chmod(path, 0o666)
        manager.settimeout(PATIENCE_S)
        child = engine("--model", "none", env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        try:
            assert manager.recv(100) == b"READY=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            child.send_signal(signal.SIGTERM)
            while manager.recv(100) != b"STOPPING=1":
                pass
        finally:
            os.unlink(path)

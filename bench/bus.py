"""Predict over the bus: a caller in this process, the real daemon in its own, a bus between.

Owns: what is measured. Does not know: how the daemon answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from pathlib import Path

from bench.live import Live, daemon
from bench.report import Goal, Options, Report, Table
from jepad.bus.connection import BUS, Connection
from jepad.bus.seam import LIBRARY, Message, MessageType
from jepad.errors import BusError, JepadError
from jepad.paths import BUS_NAME, OBJECT_PATH

START_TIMEOUT_S = 25.0
MAX_REPLY_BYTES = 16 << 20
ROUNDS = {True: 400, False: 2000}  # by --quick
CHUNK = 50
BURST = 1000
RATE = 200  # calls a second that are served for ever; the burst is left for what is pipelined
P50_GOAL_MS = 0.5
PEER = "org.freedesktop.DBus.Peer"
DOMAIN, HORIZON_USEC = "memory", 1_000_000


def run(options: Options) -> Report:
    """Start a daemon on a bus of its own, measure, stop it."""
    report = Report(notes=[f"library: {LIBRARY}; caller and daemon in processes of their own"])
    try:
        with daemon() as live:
            asyncio.run(_measure(live, ROUNDS[options.quick], report))
    except (JepadError, RuntimeError, TimeoutError) as error:
        report.goals += [
            Goal("Predict p50, ms", None, "<=", P50_GOAL_MS, str(error)),
            Goal(f"answered of {BURST} pipelined calls", None, "==", BURST),
        ]
    return report


async def _measure(live: Live, rounds: int, report: Report) -> None:
    address = Path(live.env["XDG_RUNTIME_DIR"], "jepad", "bus-address").read_text().strip()
    peer = await Connection.open(address, MAX_REPLY_BYTES)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await _ready(peer)
        calls = {
            "Ping of the bus": _bus_ping(),
            "Ping of jepad": _message(PEER, "Ping"),
            "Predict": _predict(),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        while len(times["Predict"]) < rounds:
            for name, call in calls.items():
                times[name] += [await _timed(peer, call) for _ in range(CHUNK)]
            await asyncio.sleep(2 * CHUNK / RATE)
        answered, burst_s = await _burst(peer)
    finally:
        peer.close()
    _tell(report, times, answered, burst_s)


def _tell(report: Report, times: dict[str, list[float]], answered: int, burst_s: float) -> None:
    p50 = {name: statistics.median(values) for name, values in times.items()}
    report.goals += [
        Goal("Predict p50, ms", p50["Predict"], "<=", P50_GOAL_MS),
        Goal(f"answered of {BURST} pipelined calls", answered, "==", BURST),
    ]
    rows = []
    for name, values in times.items():
        cuts = statistics.quantiles(values, n=100)
        rows.append((name, p50[name], cuts[94], cuts[98], p50[name] / p50["Ping of jepad"]))
    report.tables += [
        Table("one call at a time, ms", ("call", "p50", "p95", "p99", "to Ping of jepad"), rows),
        Table(
            "pipelined Predict",
            ("calls", "answered", "seconds", "calls/s"),
            [(BURST, answered, burst_s, answered / burst_s)],
        ),
    ]


async def _ready(peer: Connection) -> None:
    """Until there is a forecast to answer from."""
    while True:
        with contextlib.suppress(BusError):
            await peer.call(_predict())
            return
        await asyncio.sleep(0.2)


async def _timed(peer: Connection, message: Message) -> float:
    start = time.perf_counter()
    await peer.call(message)
    return (time.perf_counter() - start) * 1e3


async def _burst(peer: Connection) -> tuple[int, float]:
    """Calls that all wait at once; how many got a true answer, and in what time."""
    await asyncio.sleep(BURST / RATE)
    start = time.perf_counter()
    found = await asyncio.gather(
        *(peer.call(_predict(), 20.0) for _ in range(BURST)), return_exceptions=True
    )
    seconds = time.perf_counter() - start
    good = [r for r in found if not isinstance(r, BaseException)]
    return sum(r.message_type is MessageType.METHOD_RETURN for r in good), seconds


def _predict() -> Message:
    body = [DOMAIN, HORIZON_USEC, {}]
    return _message("org.jepad1.WorldModel", "Predict", "sta{sv}", *body)


def _message(interface: str, member: str, signature: str = "", *body: object) -> Message:
    return Message(
        destination=BUS_NAME,
        path=OBJECT_PATH,
        interface=interface,
        member=member,
        signature=signature,
        body=list(body),
    )


def _bus_ping() -> Message:
    return Message(destination=BUS, path="/org/freedesktop/DBus", interface=PEER, member="Ping")

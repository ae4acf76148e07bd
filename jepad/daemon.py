"""Build everything once, run it: Source → Sample → Ring → Engine → Forecast → Risk → Alert → bus.

Owns: start, the tick, stop. Does not know: how any of the parts works.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from jepad import config, journal, paths
from jepad.bus.door import Door, serve
from jepad.bus.eyes.units import Units
from jepad.engine.supervisor import Supervisor
from jepad.errors import NotReady, SettingError
from jepad.guard import directory
from jepad.guard.limits import Budget
from jepad.heads import risk
from jepad.outlook import Outlook
from jepad.policy.alerts import Alert, Alerts
from jepad.ring.stream import listing
from jepad.screen import Screen, print_json, print_lines, text
from jepad.service import Parts, Service
from jepad.sight import Opener, sight
from jepad.sources.processes import Top
from jepad.sources.registry import build, processes_of
from jepad.sources.replay import Replay, read_trace
from jepad.sources.snapshot import Snapshot
from jepad.telemetry import Sampler, Telemetry
from jepad.view import finite, forecast_json, risk_json, risk_line

if TYPE_CHECKING:
    from jepad.policy.jobs import Jobs
    from jepad.policy.scenes import Scenes
    from jepad.scene.supervisor import SceneSupervisor

log = logging.getLogger("jepad")

HISTORY = 64  # samples a tick looks back on
#: Message IDs of systemd/jepad.catalog.
RAISED = "323f6738444145e0a68d7b48a3d74010"
CLEARED = "3691fdfebee74722a99f9fee5ea01140"
ENGINE_AWAY = "e644fd6d74d840dcb60c3a167eb8d60f"
ENGINE_BACK = "af8dd2e696974270b28986eebd497d7a"

ENGINE_TIME_S = 0.25  # the engine's share of a tick, before we look for its forecast


async def run(args: argparse.Namespace) -> int:
    """Run until stopped; 0 when all went well. Raises JepadError with what to do."""
    places = paths.session() if args.session or args.replay else paths.SYSTEM
    path = args.config or config.redirected(places.config)
    settings = config.load(path, required=path != places.config)
    places = replace(places, config=path)
    journal.setup()
    if args.replay:
        return await _replay(args, settings, places)
    make = directory.own if args.session else directory.shared
    make(places.runtime)
    async with _daemon(args, settings, places) as daemon:
        await daemon.loop(args.seconds)
        if args.json:
            print_json(daemon.summary())
    return 0


async def _replay(args: argparse.Namespace, settings: config.Config, places: paths.Places) -> int:
    """A trace in place of this machine: at its own pace, or at once to its end."""
    trace = read_trace(args.replay, args.trace)
    directory.own(places.runtime)
    places = _aside(places)
    directory.own(places.runtime)
    daemon = Daemon(Replay(trace), settings, places, trace.dt_s, transient=True)
    _on_signals(daemon)
    try:
        if args.once:
            await daemon.jump()
        else:
            await daemon.supervisor.start()
            daemon.screen.start(live=not args.json)
            await daemon.loop(args.seconds)
        daemon.screen.stop()
        if daemon.outlook.latest is None:
            raise NotReady(f"{args.replay}: {daemon.telemetry.samples} samples are too few")
        if args.json:
            print_json(daemon.summary())
        elif args.once:
            print_lines(daemon.lines())
        return 0
    finally:
        daemon.screen.stop()
        await daemon.supervisor.stop()
        daemon.outlook.close()
        daemon.telemetry.retire()
        shutil.rmtree(places.runtime)


Growth = Callable[[], list[tuple[Top, float]]]  # tasks and their bytes per second


class Daemon:
    """The parts, and one tick of them."""

    def __init__(
        self,
        sampler: Sampler,
        settings: config.Config,
        places: paths.Places,
        interval_s: float,
        transient: bool = False,
    ) -> None:
        self.settings = settings
        self.places = places
        self.interval_s = interval_s
        self.telemetry = Telemetry(sampler, places.shm_prefix, settings.ring, interval_s)
        self.outlook = Outlook(places.shm_prefix, settings.engine.series, interval_s)
        self.alerts = Alerts(settings.risk)
        self._foreign = transient
        self.limits = _limits(settings, transient)
        self.screen = Screen()
        engine = settings.engine
        self.supervisor = Supervisor(
            places, engine.model, engine.series, engine.stall_s, transient=transient
        )
        self.scene = None if transient else _scene(settings, places)
        self.units = Units()  # of cameras; without a connection these are our children
        opener = Opener(places, lambda: self.units.start if self.units.connection else None)
        self.sight = sight(settings, places, self.scene.client if self.scene else None, opener)
        self.door: Door | None = None
        self.service = Service(
            Parts(
                prefix=places.shm_prefix,
                telemetry=self.telemetry,
                outlook=self.outlook,
                alerts=self.alerts,
                engine=self.supervisor.client,
                engine_state=self._engine_state,
                engine_reason=lambda: self.supervisor.reason,
                reload=self.reload,
                sight=self.sight,
                scene=self._scenes if self.scene else None,
            )
        )
        self.stopping = asyncio.Event()
        self.growth: Growth = list
        self._told = ""  # the state that was logged last

    async def loop(self, seconds: float | None) -> None:
        """Tick until told to stop, the time is up, or a trace ends."""
        start = time.monotonic()
        end = start + seconds if seconds else float("inf")
        due, looked, barked = start, start, start
        watchdog = journal.watchdog_interval()
        while not self.stopping.is_set() and time.monotonic() < end:
            try:
                self.telemetry.tick()
            except NotReady:
                break
            if await self._sleep(min(ENGINE_TIME_S, self.interval_s / 4)):
                break
            self.think()
            now = time.monotonic()
            if now - looked >= self.settings.daemon.redescribe_s:
                looked = now
                self.telemetry.redescribe()
            if watchdog and now - barked >= watchdog / 2 and self.door:
                barked = now
                await self.door.round_trip()
                journal.notify("WATCHDOG=1")
            due = self._next(due)
            await self._sleep(min(due, end) - time.monotonic())

    async def jump(self) -> None:
        """All that the sampler has, then one forecast from its end."""
        with contextlib.suppress(NotReady):
            while True:
                self.telemetry.tick()
        await self.supervisor.start()
        for _ in range(200):
            self.telemetry.heartbeat()
            self.think()
            if self.outlook.latest is None or not self.outlook.degraded:
                break
            await asyncio.sleep(0.1)

    def think(self) -> None:
        """Window → Forecast → Risk → Alert, and tell the doors."""
        window = self.telemetry.window(HISTORY * self.outlook.stride)
        forecast = self.outlook.update(window)
        risks = risk.assess(window, forecast, self.limits, _fastest(self.growth()))
        self.service.take(risks)
        self.alerts.update(risks, int(window.t_ns[-1]))
        if self.door:
            self.door.tick()
        self._tell_engine()
        if forecast:
            self.screen.show(self.lines)

    async def reload(self) -> None:
        """Read the settings again; risk settings apply at once, the others at the next start."""
        fresh = config.load(self.places.config)
        self.alerts.settings = fresh.risk
        self.limits = _limits(fresh, self._foreign)
        changed = [n for n in fresh.__struct_fields__ if n != "risk"]
        later = [n for n in changed if getattr(fresh, n) != getattr(self.settings, n)]
        if later:
            log.warning("settings of [%s] apply at the next start", "], [".join(later))

    def lines(self) -> list[str]:
        """The forecast in force as text; call it only once there is one."""
        assert self.outlook.latest is not None
        head = f"jepad: {self.service.state()}, {self.telemetry.samples} samples"
        return text(head, self.outlook.latest, self.outlook.now, self.service.risks())

    def summary(self) -> dict[str, object]:
        """What `--json` prints."""
        forecast = self.outlook.latest
        return {
            "samples": self.telemetry.samples,
            "head": self.telemetry.head,
            "interval_s": self.interval_s,
            "state": self.service.state(),
            "model": {
                "digest": self.service.model_id(),
                "part": forecast.part() if forecast else "",
            },
            "anomaly_score": finite(self.service.anomaly_score()),
            "sources": {s.name: s.state for s in self.telemetry.states},
            "forecasts": forecast_json(forecast, self.outlook.now) if forecast else [],
            "risks": [risk_json(r) for r in self.service.risks()],
        }

    def _tell_engine(self) -> None:
        """Log it once when the engine goes and when it comes back."""
        state = self.service.state()
        if state in (self._told, "starting"):
            return
        first, self._told = not self._told, state
        if state == "degraded":
            reason = self.supervisor.reason
            text = f"the engine is away{': ' + reason if reason else ''}; the baseline forecasts"
            log.log(logging.INFO if first else logging.WARNING, text, extra=_fields(ENGINE_AWAY))
        else:
            log.info("the engine forecasts", extra=_fields(ENGINE_BACK))

    def _engine_state(self) -> str:
        """The supervisor's word; an engine that is a unit of its own is judged by its forecasts."""
        if self.supervisor.state != "stopped":
            return self.supervisor.state
        return "away" if self.outlook.degraded else "running"

    def _scenes(self, jobs: Jobs) -> Scenes:
        from jepad.policy.scenes import Scenes, Served  # only where one is served

        scene = self.scene
        assert scene is not None
        prefix = self.places.shm_prefix
        return Scenes(
            Served(
                model=self.settings.scene.model,
                client=scene.client,
                state=lambda: "unit" if scene.state == "stopped" else scene.state,
                reason=lambda: scene.reason,
                streams=lambda: listing(prefix),
            ),
            jobs,
        )

    def _next(self, due: float) -> float:
        """The next tick's time; ticks that passed meanwhile are counted, not made up."""
        due += self.interval_s
        late = time.monotonic() - due
        if late > self.interval_s:
            missed = int(late / self.interval_s)
            self.service.missed_ticks += missed
            due += missed * self.interval_s
        return due

    async def _sleep(self, seconds: float) -> bool:
        """True if told to stop meanwhile."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), max(seconds, 0))
        return self.stopping.is_set()


@contextlib.asynccontextmanager
async def _daemon(
    args: argparse.Namespace, settings: config.Config, places: paths.Places
) -> AsyncIterator[Daemon]:
    """Start in the order of the data's path, stop in the reverse."""
    async with contextlib.AsyncExitStack() as stack:
        daemon = _live(settings, places, stack)
        stack.callback(daemon.telemetry.close)
        stack.callback(daemon.outlook.close)
        _on_signals(daemon)
        stack.push_async_callback(daemon.supervisor.stop)
        if daemon.scene:
            stack.push_async_callback(daemon.scene.stop)
        if args.engine == "child":
            await daemon.supervisor.start()
            if daemon.scene:
                await daemon.scene.start()
        budget = Budget(settings.limits.calls_burst, settings.limits.calls_per_s)
        daemon.door = await serve(daemon.service, places, session=args.session, budget=budget)
        stack.push_async_callback(daemon.door.close)
        daemon.door.closed.add_done_callback(lambda _: daemon.stopping.set())
        if args.engine != "child":
            daemon.units.connection = daemon.door.connection
        await daemon.sight.start()
        stack.push_async_callback(daemon.sight.stop)
        daemon.alerts.subscribe(_log_raised, _log_cleared)
        daemon.screen.start(live=bool(args.session and not args.json))
        journal.notify("READY=1")
        try:
            yield daemon
        finally:
            journal.notify("STOPPING=1")
            daemon.screen.stop()
        if daemon.door.closed.done():
            daemon.door.closed.result()  # raises why the bus left us


def _live(
    settings: config.Config, places: paths.Places, stack: contextlib.AsyncExitStack
) -> Daemon:
    """A daemon on the sources of this machine."""
    interval_s = settings.daemon.interval_s
    sources = build(paths.Roots(), without=settings.sources.disable)
    snapshot = Snapshot(sources, interval_s)
    stack.callback(snapshot.close)
    daemon = Daemon(snapshot, settings, places, interval_s)
    processes = processes_of(sources)
    if processes:
        daemon.growth = processes.growth
    return daemon


def _scene(settings: config.Config, places: paths.Places) -> SceneSupervisor | None:
    """None where no model of pictures is wished for: then nothing of it is imported."""
    wish = settings.scene
    if not wish.model:
        return None
    from jepad.scene.supervisor import SceneSupervisor, Wanted

    wanted = Wanted(wish.model, wish.device, wish.precision, wish.memory_max_bytes, wish.threads)
    return SceneSupervisor(places, wanted)


def _fastest(growth: list[tuple[Top, float]]) -> risk.Grower | None:
    if not growth:
        return None
    task, bytes_per_s = max(growth, key=lambda pair: pair[1])
    return risk.Grower(f"{task.comm}[{task.pid}]", task.cgroup, bytes_per_s)


def _limits(settings: config.Config, foreign: bool) -> risk.Limits:
    """Of this kernel; a trace of another machine is judged without its watermarks."""
    watermark = 0.0
    if not foreign:
        try:
            with open("/proc/zoneinfo") as file:
                watermark = risk.low_watermark_kib(file.read(), os.sysconf("SC_PAGE_SIZE") // 1024)
        except (OSError, ValueError) as error:
            log.warning("/proc/zoneinfo can't be read (%s): 2 %% of all memory stands in", error)
    return risk.Limits(settings.risk.horizon_s, settings.risk.stall_share, watermark)


def _aside(places: paths.Places) -> paths.Places:
    """Places of a replay, beside those of a daemon that may be running."""
    own = f"replay-{os.getpid()}"
    return paths.Places(
        f"{places.runtime}/{own}", places.state, places.config, f"{places.shm_prefix}-{own}"
    )


def _on_signals(daemon: Daemon) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stopping.set)
    tasks: set[asyncio.Task[None]] = set()  # the loop itself holds them weakly

    def reload() -> None:
        task = loop.create_task(_reload(daemon))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)


async def _reload(daemon: Daemon) -> None:
    try:
        await daemon.reload()
    except SettingError as error:
        log.error("reload: %s", error)


def _log_raised(alert: Alert) -> None:
    text = f"prediction {alert.id} raised: {risk_line(alert.risk)}"
    log.warning(text, extra=_fields(RAISED, alert))


def _log_cleared(alert: Alert) -> None:
    text = f"prediction {alert.id} cleared: {alert.risk.domain}"
    log.warning(text, extra=_fields(CLEARED, alert))


def _fields(message_id: str, alert: Alert | None = None) -> dict[str, dict[str, str]]:
    """Of a journal record."""
    fields = {"MESSAGE_ID": message_id}
    if alert:
        risk = alert.risk
        fields |= {"JEPAD_DOMAIN": risk.domain, "JEPAD_UNIT": risk.unit or "unknown"}
    return {"fields": fields}

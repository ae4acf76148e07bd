"""One method a use case: what a caller may ask of jepad, whatever door it came through.

Owns: answers. Does not know: D-Bus, terminals, processes.
"""

from __future__ import annotations

import fnmatch
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from jepad.engine.client import EngineClient
from jepad.errors import NotFound, NotReady, RingError, SettingError
from jepad.heads import action
from jepad.heads.prepare import CONTEXT
from jepad.outlook import LEAST, Outlook
from jepad.policy import question
from jepad.policy.alerts import Alert, Alerts
from jepad.policy.goal import Wish
from jepad.policy.jobs import Job, Jobs, Owner
from jepad.policy.question import Question, Step
from jepad.records import Floats32, Forecast, Risk, part_of
from jepad.ring.stream import Stream, listing, open_fd
from jepad.telemetry import Telemetry
from jepad.view import WORTH_A_LINE, finite, quantity, risk_json, risk_line, span

if TYPE_CHECKING:
    from jepad.policy.scenes import Scenes
    from jepad.policy.sight import Sight

#: What a domain's name stands for, as patterns over series.
DOMAINS = {
    "cpu": ("cpu.*", "load*", "psi.cpu.*", "ctxt"),
    "memory": ("mem.*", "psi.memory.*", "vm.*"),
    "io": ("psi.io.*", "disk.*"),
    "disk": ("disk.*", "fs.*"),
    "network": ("net.*",),
    "thermal": ("temp.*", "fan.*"),
    "power": ("power.*",),
    "gpu": ("gpu*",),
}

#: From this score on an anomaly is worth a line.
ANOMALOUS = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service answers from."""

    prefix: str
    telemetry: Telemetry
    outlook: Outlook
    alerts: Alerts
    engine: EngineClient | None
    engine_state: Callable[[], str]
    engine_reason: Callable[[], str]  # why it ended last; "" if it never did
    reload: Callable[[], Awaitable[None]]
    sight: Sight
    scene: Callable[[Jobs], Scenes] | None = None  # None: no model of pictures is served


class Service:
    """All of it is read-only: nothing here changes the machine."""

    version = version("jepad")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.jobs = Jobs()
        self.sight = parts.sight
        self._scenes = parts.scene(self.jobs) if parts.scene else None
        self._started = time.monotonic()
        self._state = ("starting", self._started)  # and since when
        self._risks: list[Risk] = []
        self.missed_ticks = 0

    def take(self, risks: list[Risk]) -> None:
        """The risks of this tick."""
        self._risks = risks
        if self._scenes:
            self._scenes.look()
        state = self.state()
        if state != self._state[0]:
            self._state = (state, time.monotonic())

    # -- what we are ---------------------------------------------------------------------------

    def state(self) -> str:
        """starting until the first forecast, then running, or degraded while the engine is away."""
        if self._parts.outlook.latest is None:
            return "starting"
        well = self._parts.engine_state() == "running" and not self._parts.outlook.degraded
        return "running" if well else "degraded"

    def mode(self) -> str:
        """Only observe: jepad watches and tells."""
        return "observe"

    def model_id(self) -> str:
        """SHA-256 of the model that speaks, "" while none does."""
        forecast = self._parts.outlook.latest
        return forecast.model_digest if forecast else ""

    def anomaly_score(self) -> float:
        """How unlike its usual self the machine is, 0..20; NaN until known."""
        forecast = self._parts.outlook.latest
        return forecast.surprise if forecast else float("nan")

    def describe(self) -> str:
        """Everything status shows, as one JSON object."""
        parts, forecast = self._parts, self._parts.outlook.latest
        return json.dumps(
            {
                "version": self.version,
                "state": self.state(),
                "mode": self.mode(),
                "uptime_s": round(time.monotonic() - self._started, 1),
                "pid": os.getpid(),
                "engine": parts.engine_state(),
                "engine_reason": parts.engine_reason(),
                "scene": self._scenes.summary() if self._scenes else None,
                "cameras": self.sight.summary(),
                "model": {
                    "digest": self.model_id(),
                    "part": forecast.part() if forecast else "",
                    "weight": finite(float(forecast.weight.mean())) if forecast else None,
                },
                "anomaly_score": finite(self.anomaly_score()),
                "anomaly_series": list(forecast.causes) if forecast else [],
                "samples": parts.telemetry.samples,
                "head": parts.telemetry.head,
                "missed_ticks": self.missed_ticks,
                "series": len(parts.telemetry.series),
                "forecast_series": len(forecast.series) if forecast else 0,
                "horizons_s": list(forecast.horizons_s) if forecast else [],
                "units": action.groups([s.name for s in parts.telemetry.series]),
                "sources": [
                    {
                        "name": s.name,
                        "state": s.state,
                        "series": s.series,
                        "duration_ms": round(s.duration_s * 1e3, 3),
                        "samples": s.samples,
                        "failures": s.failures,
                        "reason": s.reason,
                    }
                    for s in parts.telemetry.states
                ],
                "risks": [risk_json(r) for r in self._risks],
                "raised": [{"id": a.id, **risk_json(a.risk)} for a in parts.alerts.active.values()],
                "streams": self.list_streams(),
            }
        )

    def status_text(self, colour: bool) -> str:
        """What `jepactl status` prints."""
        parts, state = self._parts, self.state()
        dot = {"running": "32", "degraded": "33"}.get(state, "0")
        mark = f"\033[{dot}m●\033[0m" if colour else "●"
        forecast = parts.outlook.latest
        part = forecast.part() if forecast else "none yet"
        reason = parts.engine_reason() if state == "degraded" else ""
        bad = [s for s in parts.telemetry.states if s.state == "failed"]
        here = [s for s in parts.telemetry.states if s.state == "ok"]
        now = time.monotonic()
        since, uptime = span(now - self._state[1]), span(now - self._started)
        speaks = f"{self.model_id()[:12]} speaks as {part}"
        if part == "baseline":
            speaks = "silent, the baseline speaks"
        lines = [
            f"{mark} jepad {self.version} - world model of this machine",
            f"     State: {state} ({self.mode()}) for {since}; up {uptime}, pid {os.getpid()}",
            f"     Model: {speaks}; engine {parts.engine_state()}",
            f"   Samples: {parts.telemetry.samples} of {len(parts.telemetry.series)} series from"
            f" {len(here)} sources ({', '.join(s.name for s in here)}); {self.missed_ticks} missed",
        ]
        lines += [f"    Engine: {reason}"] if reason else []
        lines += [f"     Scene: {self._scenes.line()}"] if self._scenes else []
        lines += [f"    Camera: {line}" for line in self.sight.lines()]
        lines += [f"    Failed: {s.name}: {s.reason} ({s.failures} times)" for s in bad]
        lines += [f"    Raised: {risk_line(a.risk)}" for a in parts.alerts.active.values()]
        if forecast and forecast.surprise >= ANOMALOUS:
            causes = f": {', '.join(forecast.causes)}" if forecast.causes else ""
            lines += [f"   Anomaly: {forecast.surprise:.1f} above usual{causes}"]
        seen = [r for r in self._risks if r.probability >= WORTH_A_LINE]
        lines += [f"      Risk: {risk_line(r)}" for r in seen]
        lines += [] if seen else [f"      Risk: none above {WORTH_A_LINE:.0%}"]
        return "\n".join([*lines, *self._headlines(forecast), ""])

    def _headlines(self, forecast: Forecast | None) -> list[str]:
        """Memory and processor in a minute, as two lines."""
        names = [s.name for s in forecast.series] if forecast else []
        lines = []
        for name in ("mem.MemAvailable", "cpu.busy"):
            if forecast and name in names:
                unit = forecast.series[names.index(name)].unit
                h = forecast.horizons_s.index(64.0) if 64.0 in forecast.horizons_s else -1
                p10, p50, p90 = (
                    quantity(float(q), unit) for q in forecast.quantiles[names.index(name), h]
                )
                now = quantity(self._parts.outlook.now.get(name, float("nan")), unit)
                ahead = span(forecast.horizons_s[h])
                lines.append(f"  Forecast: {name} {now} now, {p50} ({p10} … {p90}) in {ahead}")
        return lines

    # -- streams -------------------------------------------------------------------------------

    def list_streams(self) -> list[dict[str, object]]:
        """Name, shape, dtype, head and state of each of our streams."""
        found: list[dict[str, object]] = []
        for name in listing(self._parts.prefix):
            try:
                with Stream(self._parts.prefix, name) as stream:
                    row = {
                        "shape": list(stream.header.shape),
                        "dtype": str(stream.header.dtype),
                        "head": stream.head,
                        "state": stream.state,
                    }
            except RingError as error:  # anybody may lay a file beside our streams
                row = {"shape": [], "dtype": "", "head": -1, "state": f"unreadable: {error}"}
            except NotFound:
                continue  # gone since it was listed
            found.append({"name": name, **row})
        return found

    def open_stream(self, name: str) -> int:
        """A read-only descriptor of a stream; the caller closes it."""
        names = listing(self._parts.prefix)
        if name not in names:
            raise NotFound(f"no stream {name!r}. There are: {', '.join(names) or 'none'}")
        return open_fd(self._parts.prefix, name)

    # -- questions to the model ----------------------------------------------------------------

    def predict(
        self, domain: str, horizon_us: int, options: dict[str, object]
    ) -> dict[str, object]:
        """The forecast in force for a domain or series pattern, at the first published horizon
        that is not nearer than the one asked for (0: the nearest). No option is known yet."""
        if options:
            raise SettingError(f"unknown option {min(options)!r}; Predict takes none yet")
        forecast = self._forecast()
        h = _horizon(forecast, horizon_us)
        asked = _matching(forecast, domain)
        picks = self._spoken(forecast, asked, h)
        names = [forecast.series[c].name for c in picks]
        silent = [forecast.series[c].name for c in asked if c not in picks]
        rows, weights = forecast.quantiles[picks, h].astype(float), forecast.weight[picks, h]
        return {
            "series": names,
            "units": [forecast.series[c].unit for c in picks],
            "horizon_usec": int(forecast.horizons_s[h] * 1e6),
            "p10": rows[:, 0].tolist(),
            "p50": rows[:, 1].tolist(),
            "p90": rows[:, 2].tolist(),
            "confidence": self._parts.outlook.confidence(names),
            "part": part_of(weights),
            "parts": [part_of(weight) for weight in weights],
            "weights": weights.astype(float).tolist(),
            "silent": silent,
            "model": forecast.model_digest,
            "age_usec": max(0, time.monotonic_ns() - forecast.t_ns) // 1000,
            "source_n": forecast.source_n,
        }

    async def predict_action(self, asked: Question) -> dict[str, object]:
        """What would become of a domain if something were done, beside what will be if nothing is.

        Asks the model; does nothing."""
        parts, forecast = self._parts, self._forecast()
        engine = self._engine()
        stride = parts.outlook.stride
        window = parts.telemetry.window(CONTEXT * stride + 1)
        samples = question.sampled(window, stride, forecast.horizons_s[0])
        patterns = DOMAINS.get(asked.domain, (asked.domain,))
        usual = [s.name for s in forecast.series]
        put = question.put(asked, samples, usual, patterns)
        told = await engine.foresee(put.samples.values, put.names, put.samples.step_s, put.acts)
        return question.answer(put, told, samples.series) | {
            "confidence": parts.outlook.confidence([put.names[i] for i in put.picks]),
            "age_usec": max(0, time.monotonic_ns() - int(window.t_ns[-1])) // 1000,
            "source_n": window.last_n,
        }

    def plan(self, owner: Owner, wish: Wish) -> Job:
        """Which action would bring the machine nearest to a goal: a job that asks the model about
        each. Nothing is ever applied."""
        from jepad.policy import plan  # and the planner, once somebody plans

        parts, forecast, engine = self._parts, self._forecast(), self._engine()
        stride = parts.outlook.stride
        window = parts.telemetry.window(CONTEXT * stride + 1)
        samples = question.sampled(window, stride, forecast.horizons_s[0])
        patterns = ("*",) if wish.domain == question.ALL else DOMAINS.get(wish.domain)
        aim = plan.understood(wish, samples.series, patterns or (wish.domain,))
        usual = [*(w.series for w in aim.wants), *(s.name for s in forecast.series)]

        async def ask(step: Step) -> dict[str, object]:
            asked = Question(wish.domain, (step,), wish.horizon_us)
            put = question.put(asked, samples, usual, patterns or (wish.domain,))
            told = await engine.foresee(put.samples.values, put.names, samples.step_s, put.acts)
            return question.answer(put, told, samples.series) | {"source_n": window.last_n}

        found = plan.candidates(aim, samples)
        return self.jobs.start(owner, lambda report: plan.Search(aim, ask, report).run(found))

    async def embed(self, array: np.ndarray, series: list[str], dt_s: float) -> Floats32:
        """Embeddings [1+H, D] of a telemetry window [T, C] of rates and gauges."""
        return await self._engine().embed(array, series, dt_s)

    def scenes(self) -> Scenes:
        """What may be asked about pictures."""
        if self._scenes is None:
            raise NotReady(
                "no model of pictures is served here. Set model of [scene] in jepad.toml(5)"
                " to one of: jepactl model list"
            )
        return self._scenes

    def world_state(self) -> dict[str, object]:
        """The machine in a few words: where its embedding is, surprise, risks."""
        forecast = self._forecast()
        return {
            "state": self.state(),
            "source_n": forecast.source_n,
            "surprise": forecast.surprise,
            "anomaly_series": list(forecast.causes),
            "model": forecast.model_digest,
            "part": forecast.part(),
            "embedding_stream": "embeddings.machine",
            "prediction_stream": "predictions.machine",
            "risks": {r.domain: r.probability for r in self._risks},
        }

    def risks(self) -> list[Risk]:
        """The risks of the last tick."""
        return self._risks

    def forecasts(self) -> list[tuple[str, str, int, float, float, float]]:
        """(series, unit, horizon_usec, p10, p50, p90) of every channel and horizon."""
        forecast = self._parts.outlook.latest
        if forecast is None:
            return []
        rows = forecast.quantiles.tolist()
        return [
            (s.name, s.unit, int(h * 1e6), *_three(rows[c][i]))
            for c, s in enumerate(forecast.series)
            for i, h in enumerate(forecast.horizons_s)
            if np.isfinite(forecast.quantiles[c, i]).all()
        ]

    def subscribe(
        self, on_raised: Callable[[Alert], None], on_cleared: Callable[[Alert], None]
    ) -> None:
        """Hear of predictions raised and cleared."""
        self._parts.alerts.subscribe(on_raised, on_cleared)

    async def reload(self) -> None:
        """Read the settings again."""
        await self._parts.reload()

    def _spoken(self, forecast: Forecast, picks: list[int], h: int) -> list[int]:
        """Those that there is a forecast of; NotReady says of the others why there is none."""
        spoken = [c for c in picks if np.isfinite(forecast.quantiles[c, h]).all()]
        if spoken:
            return spoken
        window = self._parts.telemetry.window(CONTEXT * self._parts.outlook.stride)
        seen = {s.name: np.isfinite(window.values[:, i]).sum() for i, s in enumerate(window.series)}
        name = forecast.series[picks[0]].name
        count = seen.get(name, 0)
        had = f"{count} samples lately, {LEAST} are needed" if count else "no samples"
        others = f"; nor have {len(picks) - 1} others" if len(picks) > 1 else ""
        raise NotReady(f"no forecast: {name} has {had}{others}")

    def _engine(self) -> EngineClient:
        if self._parts.engine is None:
            raise NotReady("no engine runs here. Start it: systemctl start jepad-engine@cpu")
        return self._parts.engine

    def _forecast(self) -> Forecast:
        forecast = self._parts.outlook.latest
        if forecast is None:
            raise NotReady("no forecast yet: the first comes a few seconds after the start")
        return forecast


def _three(row: list[float]) -> tuple[float, float, float]:
    return row[0], row[1], row[2]


def _horizon(forecast: Forecast, horizon_us: int) -> int:
    for i, h in enumerate(forecast.horizons_s):
        if h * 1e6 >= horizon_us:
            return i
    last = span(forecast.horizons_s[-1])
    raise SettingError(f"horizon {span(horizon_us / 1e6)} is beyond the longest forecast, {last}")


def _matching(forecast: Forecast, domain: str) -> list[int]:
    patterns = DOMAINS.get(domain, (domain,))
    picks = [
        c
        for c, series in enumerate(forecast.series)
        if any(fnmatch.fnmatchcase(series.name, p) for p in patterns)
    ]
    if picks:
        return picks
    if domain in DOMAINS:
        raise NotFound(f"nothing of domain {domain!r} is forecast on this machine")
    known = ", ".join(DOMAINS)
    raise NotFound(f"no domain or forecast series {domain!r}. Domains: {known}")

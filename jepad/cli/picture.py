"""What `jepactl top` shows: gathered from the rings and the bus, laid out for a width.

Owns: which series come first, the columns, the sparkline. Does not know the terminal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jepad.cli import output, rings
from jepad.cli.bus import RESOURCE, Client
from jepad.cli.status import MANAGER
from jepad.errors import BusError, JepadError, Lapped, NotFound, NotReady, RingError
from jepad.records import Floats, Risk, Series, Window
from jepad.ring.stream import Stream
from jepad.sources.rates import rates
from jepad.view import quantity, risk_line, span

RESOURCE_INTERFACE = "org.jepad1.Resource"
HISTORY = 64
SPARK = 20
COLUMN = 30  # of a horizon: `1023 B/s (999 B/s … 1.0 KiB/s)` fits
BLOCKS = "▁▂▃▄▅▆▇█"
#: In this order horizons get a column while there is room.
WANTED_S = (64.0, 16.0, 640.0, 4.0, 160.0, 1.0)
SHOWN_RISK = 0.05
ALARM = 0.7


class Ahead(NamedTuple):
    """One horizon of a forecast."""

    horizon_s: float
    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Row:
    """One series: its recent values, and what is expected of it where it is forecast."""

    series: Series
    history: Sequence[float]
    ahead: Sequence[Ahead]

    @property
    def now(self) -> float:
        """The newest value."""
        return self.history[-1] if len(self.history) else math.nan


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is shown at one moment."""

    state: str
    model: str
    samples: int
    t_ns: int
    rows: Sequence[Row]
    risks: Sequence[Risk]


class Camera:
    """Takes pictures; keeps streams and the bus open between them."""

    def __init__(self, bus: str, pattern: str | None) -> None:
        self._bus = bus
        self._pattern = pattern
        self._client: Client | None = Client(bus)
        self._telemetry = rings.open_stream(bus, rings.TELEMETRY)
        self._predictions: Stream | None = None

    def take(self) -> Picture:
        """The newest of everything."""
        if self._telemetry.state == "retired":  # the set of series changed
            self._telemetry.close()
            self._telemetry = rings.open_stream(self._bus, rings.TELEMETRY)
        values, t_ns, flags, last = self._telemetry.window(HISTORY)
        if last < 0:
            raise NotReady("no sample yet: the first comes within seconds of the start")
        told = rings.series_of(self._telemetry)
        series, _, values = rates(Window(told, t_ns, values, flags, last))
        about = self._describe()
        return Picture(
            state=about.get("state") or self._telemetry.state,
            model=_speaker(about.get("model", {})),
            samples=last + 1,
            t_ns=int(t_ns[-1]),
            rows=self._rows(series, values),
            risks=[_risk(risk) for risk in about.get("risks", [])],
        )

    def _rows(self, series: Sequence[Series], values: Floats) -> list[Row]:
        """Forecast series first, as the engine orders them; others only if asked for."""
        ahead = self._ahead()
        places = {one.name: c for c, one in enumerate(series)}
        names = [name for name in ahead if name in places]
        if self._pattern or not names:
            names += [name for name in places if name not in ahead]
        picks = [places[names[i]] for i in rings.matching(self._pattern, names)]
        columns = values.T.tolist()
        return [Row(series[c], columns[c], ahead.get(series[c].name, ())) for c in picks]

    def _ahead(self) -> dict[str, list[Ahead]]:
        """Forecasts by series: the engine's stream, else what the daemon makes of its own."""
        try:
            if self._predictions is None or self._predictions.state != "live":
                self._predictions = rings.open_stream(self._bus, rings.PREDICTIONS)
            frame = self._predictions.read(timeout=0)
            live = frame is not None and self._predictions.state == "live"
        except (NotFound, RingError, Lapped):
            frame, live = None, False
        if frame is None or self._predictions is None or not live:
            self._predictions = None  # looked for again at the next picture
            return self._ahead_by_bus()
        schema, out = self._predictions.header.schema, {}
        for series, rows in zip(schema["series"], frame.array.tolist(), strict=True):
            pairs = zip(schema["horizons_s"], rows, strict=True)
            out[series["name"]] = [Ahead(float(h), *row[:3]) for h, row in pairs]
        return out

    def _ahead_by_bus(self) -> dict[str, list[Ahead]]:
        out: dict[str, list[Ahead]] = {}
        try:
            told = self._client.properties(RESOURCE, RESOURCE_INTERFACE) if self._client else {}
        except JepadError:
            return out  # the rest of the picture needs no forecast
        for name, _unit, horizon_us, *quantiles in told.get("Forecasts", []):
            out.setdefault(name, []).append(Ahead(horizon_us / 1e6, *quantiles))
        return out

    def _describe(self) -> dict[str, Any]:
        """What the daemon says of itself; nothing when only its streams can be reached."""
        if self._client is None:
            return {}
        try:
            (text,) = self._client.call(MANAGER, "Describe")
        except BusError:
            self._client = Client(self._bus)
            return {}
        about: dict[str, Any] = json.loads(text)
        return about


def as_json(picture: Picture) -> dict[str, Any]:
    """The shape of `top --json`."""
    return {
        "state": picture.state,
        "samples": picture.samples,
        "t_ns": picture.t_ns,
        "risks": [
            {"domain": r.domain, "probability": r.probability, "eta_s": r.eta_s, "unit": r.unit,
             "cause": r.cause} for r in picture.risks
        ],
        "series": [
            {
                "series": row.series.name,
                "unit": row.series.unit,
                "now": row.now,
                "history": list(row.history),
                "horizons": [ahead._asdict() for ahead in row.ahead],
            }
            for row in picture.rows
        ],
    }  # fmt: skip


def lines(picture: Picture, width: int, colour: bool) -> tuple[list[str], list[str]]:
    """(head, body): the head stays, the body may be scrolled."""
    told = [risk for risk in picture.risks if risk.probability >= SHOWN_RISK]
    told.sort(key=lambda risk: -risk.probability)
    title = f"jepad {picture.state}, {picture.samples} samples; {picture.model}"
    head = [output.paint(title[:width], output.BOLD, on=colour)]
    for risk in told[:2]:
        code = output.RED if risk.probability >= ALARM else output.YELLOW
        text = output.plain(f"risk: {risk_line(risk)}")
        head.append(output.paint(text[:width], code, on=colour))
    if not told:
        head.append(output.paint("risk: none in sight", output.DIM, on=colour)[: width + 9])
    horizons = _columns(picture.rows, width)
    names = max([len(row.series.name) for row in picture.rows] + [6])
    names = min(names, max(12, width - SPARK - 13 - (COLUMN + 2) * len(horizons)))
    titles = "".join(f"  {'in ' + span(h):>{COLUMN}}" for h in horizons)
    header = f"{'SERIES':<{names}}  {'':<{SPARK}} {'NOW':>10}{titles}"
    head += ["", output.paint(header[:width], output.BOLD, on=colour)]
    return head, [_line(row, names, horizons)[:width] for row in picture.rows]


def _columns(rows: Sequence[Row], width: int) -> list[float]:
    """Horizons that fit, most wanted first, in order of time."""
    there = {ahead.horizon_s for row in rows for ahead in row.ahead}
    room = max(0, (width - 12 - SPARK - 13) // (COLUMN + 2))
    order = [h for h in WANTED_S if h in there] + sorted(there - set(WANTED_S))
    return sorted(order[:room])


def _line(row: Row, names: int, horizons: Sequence[float]) -> str:
    unit = row.series.unit
    name = output.plain(row.series.name)
    short = name if len(name) <= names else name[: names - 1] + "…"
    text = f"{short:<{names}}  {sparkline(row.history):<{SPARK}} {quantity(row.now, unit):>10}"
    ahead = {one.horizon_s: one[1:] for one in row.ahead}
    for h in horizons:
        text += f"  {_range(ahead.get(h, (math.nan,) * 3), unit):>{COLUMN}}"
    return text


def _range(quantiles: Sequence[float], unit: str) -> str:
    """`p50 (p10 … p90) unit`, the unit once where it is the same for all."""
    p10, p50, p90 = (quantity(q, unit) for q in quantiles)
    values, units = zip(*(text.partition(" ")[::2] for text in (p10, p50, p90)), strict=True)
    if len(set(units)) > 1:
        return f"{p50} ({p10} … {p90})"
    return f"{values[1]} ({values[0]} … {values[2]}) {units[0]}".rstrip()


def sparkline(history: Sequence[float]) -> str:
    """The newest values as blocks between their least and greatest; a gap is a space."""
    values = np.asarray(history, float)[-SPARK:]
    seen = values[np.isfinite(values)]
    if not len(seen):
        return ""
    low, high = float(seen.min()), float(seen.max())
    if high == low:
        return "".join(BLOCKS[0] if math.isfinite(v) else " " for v in values)
    scale = (len(BLOCKS) - 1) / (high - low)
    return "".join(BLOCKS[round((v - low) * scale)] if math.isfinite(v) else " " for v in values)


def _speaker(model: dict[str, Any]) -> str:
    if not model:
        return "out of reach on the bus"
    part = model.get("part") or "none yet"
    return f"forecast by {part}" + ("" if part == "baseline" else f" {model['digest'][:12]}")


def _risk(told: dict[str, Any]) -> Risk:
    eta = told.get("eta_s")
    return Risk(
        domain=told["domain"],
        probability=told["probability"] or 0.0,
        eta_s=math.inf if eta is None else eta,
        horizon_s=told["horizon_s"],
        unit=told["unit"],
        cause=told["cause"],
    )

"""Stretches of one host's telemetry, and what each forecaster says at every step of them.

Owns: reading packed archives by channel name, the walk with model, baseline and blend as the
engine serves them, plain peers, boosted trees on lags. Does not know: what is measured, the goals.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.boosted import Budget
from bench.report import Goal, Report, Table
from jepad.engine.onnx import load as load_graph
from jepad.errors import SettingError
from jepad.heads.blend import Blend
from jepad.heads.forecast import finish
from jepad.heads.history import History, Running, joined
from jepad.heads.prepare import CONTEXT, HORIZONS, SHORTEST, carried, prepare
from jepad.heads.since import baselines
from jepad.learn import metrics
from jepad.learn.score import Graph
from jepad.models.store import load as load_model
from jepad.sources.npztrace import npz_traces

Array = NDArray[np.floating]
_BATCH = 64
_TREND = 8  # samples the linear trend is drawn through
_LAGS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15)
_FAR_LAGS = (20, 24, 32, 48, 64, 96, 127)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of some channels of one host, whole steps apart."""

    key: str  # source:host, as in the model's card
    names: tuple[str, ...]
    values: Array  # [T, C]
    dt_s: float
    first: int  # row from which on answers count; before it the blend learns

    def channel(self, name: str) -> int | None:
        """The place of a channel, None where the host has it not."""
        return self.names.index(name) if name in self.names else None


@dataclass(frozen=True, slots=True)
class Said:
    """At each row from `first` on, for horizons of the asker's choice."""

    model: Array  # [N, C, H, 3]
    blend: Array  # [N, C, H, 3]
    p_rise: Array  # [N, C, H]: the model's


def shipped() -> tuple[Graph, frozenset[str]]:
    """The model that ships, and the hosts it was trained on."""
    files = load_model()
    split = files.card.get("split")
    hosts = split.get("trained_hosts", []) if isinstance(split, dict) else []
    return load_graph(files.onnx_path, files.digest).infer, frozenset(map(str, hosts))


def find(directory: str, name: str) -> str | None:
    """`name`.npz in a directory or right below it."""
    places = [directory, *sorted(e.path for e in os.scandir(directory) if e.is_dir())]
    paths = (os.path.join(place, f"{name}.npz") for place in places)
    return next((p for p in paths if os.path.exists(p)), None)


def read(path: str, first: int) -> Iterator[Stretch]:
    """Every series of an archive, whole."""
    source = os.path.basename(path).removesuffix(".npz")
    for name, cut in npz_traces(path):
        trace = cut()
        if not trace.host:
            raise SettingError(f"{path}: {name}: of no host")
        names = tuple(s.name for s in trace.series)
        yield Stretch(f"{source}:{trace.host}", names, trace.values, trace.dt_s, first)


def contexts(values: Array, at: NDArray[np.intp]) -> Array:
    """[T, C] and N rows -> [N, C, CONTEXT] ending at them; NaN before the beginning."""
    padded = np.pad(values, ((CONTEXT - 1, 0), (0, 0)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT, axis=0)
    out: Array = windows[at]
    return out


def later(values: Array, at: NDArray[np.intp], horizons: Sequence[int]) -> Array:
    """What came: [N, C, H]; NaN beyond the end."""
    rows = at[:, None] + np.asarray(horizons)
    out = values[np.minimum(rows, len(values) - 1)].astype(np.float64)
    out[rows >= len(values)] = np.nan
    return np.moveaxis(out, 2, 1)


def origins(stretch: Stretch) -> NDArray[np.intp]:
    """Rows whose forecasts count: those with an answer to the nearest horizon."""
    return np.arange(stretch.first, len(stretch.values) - 1)


def tell(graph: Graph, stretch: Stretch, targets: Sequence[int], horizons: Sequence[int]) -> Said:
    """Walk the stretch as the engine does; of the target channels what was said from `first` on."""
    begin = min(stretch.first, max(SHORTEST - 1, stretch.first - CONTEXT))
    at = np.arange(begin, len(stretch.values) - 1)
    windows = contexts(stretch.values, at)
    quantiles, p_rise, usable = _model(
        graph, windows, stretch.dt_s, (_histories(stretch, at), targets)
    )
    flat = windows[:, targets].reshape(-1, CONTEXT).astype(np.float64)
    every = (*HORIZONS, *horizons)
    base = baselines(flat, stretch.dt_s, every)[0].reshape(*quantiles.shape[:2], len(every), 3)
    base, wanted = base[:, :, : len(HORIZONS)], base[:, :, len(HORIZONS) :]
    # Where the baseline can't speak yet the engine gives the model's word, or none.
    base = np.where(np.isfinite(base), base, quantiles)
    wanted = np.where(np.isfinite(wanted), wanted, between(quantiles, horizons))
    mixer, newest = Blend(len(targets), HORIZONS), windows[:, targets, -1].astype(np.float64)
    weight = np.stack(
        [mixer.weights(n, q, b) for n, q, b in zip(newest, quantiles, base, strict=True)]
    )
    weight = (weight * usable[..., None])[..., None]
    # Between the model's horizons it is what it adds to the baseline that is interpolated: a
    # rhythm has no middle between two of its moments.
    added = quantiles - base
    counted = at >= stretch.first
    return Said(
        model=(wanted + between(added, horizons))[counted],
        blend=(wanted + between(weight * added, horizons))[counted],
        p_rise=between(p_rise, horizons)[counted],
    )


def between(said: Array, horizons: Sequence[int]) -> Array:
    """[N, C, HORIZONS, ...] at other horizons, even in log steps."""
    place = np.interp(np.log(horizons), np.log(HORIZONS), np.arange(len(HORIZONS)))
    low = np.minimum(place.astype(int), len(HORIZONS) - 2)
    part = (place - low).reshape(-1, *[1] * (said.ndim - 3))
    out: Array = (1 - part) * said[:, :, low] + part * said[:, :, low + 1]
    return out


def _histories(stretch: Stretch, at: NDArray[np.intp]) -> list[History]:
    running, out = Running(stretch.values.shape[1]), []
    for i, row in enumerate(stretch.values[: at[-1] + 1]):
        running.update(row)
        if i >= at[0]:
            out.append(running.history())
    return out


def _model(
    graph: Graph, windows: Array, dt_s: float, about: tuple[Sequence[History], Sequence[int]]
) -> tuple[Array, Array, NDArray[np.bool_]]:
    histories, targets = about
    parts = []
    for i in range(0, len(windows), _BATCH):
        part = windows[i : i + _BATCH]
        now = prepare(part, np.full(len(part), dt_s), joined(histories[i : i + _BATCH]))
        said = finish(now, graph(now.feeds))
        parts.append((said.quantiles[:, targets], said.p_rise[:, targets], said.usable[:, targets]))
    quantiles, p_rise, usable = (np.concatenate(column) for column in zip(*parts, strict=True))
    return quantiles, p_rise, usable


def trend(windows: Array, horizons: Sequence[int]) -> Array:
    """[N, CONTEXT] -> [N, H]: the line through the newest samples, followed."""
    recent = carried(windows[:, -_TREND:])[0]
    x = np.arange(_TREND) - (_TREND - 1) / 2
    slope = (recent * x).sum(1) / (x * x).sum()
    out: Array = recent[:, -1:] + slope[:, None] * np.asarray(horizons)
    return out


def scales(windows: Array) -> tuple[Array, Array]:
    """The last value and the mean deviation of each window, [N]."""
    context = carried(windows)[0]
    spread = np.abs(context - context.mean(1, keepdims=True)).mean(1)
    return context[:, -1], np.maximum(spread, 1e-3 * np.abs(context[:, -1]) + 1e-9)


def lags(windows: Array, beside: Array, far: bool) -> Array:
    """[N, CONTEXT] and features [N, K] of other channels -> [N, F], in the window's own scale."""
    last, scale = scales(windows)
    rel = (carried(windows)[0] - last[:, None]) / scale[:, None]
    step = np.abs(np.diff(rel, axis=1))
    columns = [rel[:, -1 - lag] for lag in (*_LAGS, *(_FAR_LAGS if far else ()))]
    columns += [rel[:, -k:].mean(1) for k in ((4, 8, 16, 32, 64, 128) if far else (4, 8, 16))]
    columns += [rel.max(1), rel.min(1), np.clip(last / scale, -1e4, 1e4)]
    columns += [step[:, -8:].mean(1), step.mean(1)]
    return np.column_stack([*columns, beside]).astype(np.float32)


def grown(x: Array, y: Array, budget: Budget, objective: str) -> Any:
    """A booster for answers that are known."""
    import lightgbm

    known = np.isfinite(y)
    data = lightgbm.Dataset(x[known], y[known])
    settings = {
        "objective": objective, "num_leaves": budget.leaves, "learning_rate": budget.rate,
        "num_threads": budget.threads, "min_data_in_leaf": 30, "feature_fraction": 0.7,
        "bagging_fraction": 0.7, "bagging_freq": 1, "seed": 0, "verbose": -1,
    }  # fmt: skip
    return lightgbm.train(settings, data, budget.rounds)


def by_host(parts: Sequence[tuple[str, Array]]) -> list[Array]:
    """Errors [N, H] of series, put together by host as metrics.ratio takes them: [N', 1, H]."""
    hosts: dict[str, list[Array]] = {}
    for key, errors in parts:
        hosts.setdefault(key, []).append(errors)
    return [np.concatenate(hosts[k])[:, None] for k in sorted(hosts)]


def shares(
    medians: Mapping[str, Sequence[Array]], came: Sequence[tuple[str, Array]]
) -> dict[str, Array]:
    """Each forecaster's MAE ÷ that of "persistence", geometric mean over hosts: [H]."""
    errors = {
        name: by_host([(key, np.abs(a - m)) for (key, a), m in zip(came, parts, strict=True)])
        for name, parts in medians.items()
    }
    return {name: metrics.ratio(e, errors["persistence"]) for name, e in errors.items()}


def table(title: str, horizons: Sequence[int], rows: Mapping[str, Array]) -> Table:
    """Forecasters by horizons."""
    columns = ["forecaster", *(f"{h} steps" for h in horizons)]
    return Table(title, columns, [[name, *map(float, row)] for name, row in rows.items()])


def goals(
    report: Report, what: str, horizons: Sequence[int], beside: tuple[Mapping[str, Array], str, str]
) -> None:
    """Better than persistence, no worse than trees; `beside`: the rows, whose, and the peer's."""
    rows, mine, peer = beside
    for i, h in enumerate(horizons):
        value = float(rows[mine][i])
        share = value / float(rows[peer][i])
        report.goals += [
            Goal(f"{what}: MAE ÷ persistence, {h} steps", value, "<", 1.0),
            Goal(f"{what}: MAE ÷ LightGBM's, {h} steps", share, "<=", 1.0),
        ]

"""How well anomalies are found on hosts the model never saw, beside plain detectors.

Owns: labelled hosts, who scores them, the tables and goals. Every detector learns from the first
half of a host without labels, looks back only, and is scored on the second half. The control is
the very same score with a network that was never trained. Does not know: who calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.report import Cell, Goal, Table
from bench.vus import WINDOW, Flags, events, vus_pr
from jepad.heads import usual
from jepad.heads.anomaly import EVERY, LENGTH, STRETCHES
from jepad.heads.forecast import finish
from jepad.heads.prepare import HORIZONS
from jepad.learn import traces
from jepad.learn.corpus import DAY_S, Cut, cut, held_out
from jepad.learn.score import Graph
from jepad.learn.windows import gather, prepare_now
from jepad.models.store import load as load_model

Array = NDArray[np.floating]
Index = NDArray[np.intp]

SEEDS = (0, 1)
_HOSTS = 2  # at most, a source
_BATCH = 16
_PLAIN = 3  # terms that need no model: k-means, PCA, VAR
_BACK = HORIZONS[-1] // EVERY
#: Alarms closer than this many steps are one episode; the share of quiet time that may be alarmed.
_APART, _MOST_TIME = 10, 0.02
_BASE = "k-means + PCA + VAR"
_ALARM = 5.0


@dataclass(frozen=True, slots=True)
class Host:
    """A labelled host."""

    source: str
    values: Array  # [T, C]
    label: Flags  # [T - half]
    half: int  # rows that are learned from
    cut: Cut
    stretches: Index  # [N, LENGTH]: rows of the sample of the first half

    @property
    def days(self) -> float:
        """Days that are scored."""
        return len(self.label) * self.cut.dt_s / DAY_S


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said of a host, by row."""

    missed: Array  # [T, 2, C], NaN where it was not asked
    latent: Array  # [T]


def figures(
    models: Mapping[str, Graph], data: str, quick: bool
) -> tuple[list[Table], list[Goal], list[str]]:
    """Tables, goals and notes; `models` by name, all trained, the first is the one that ships."""
    hosts = labelled(data, quick)
    if not hosts:
        note = "no labelled hosts in the data"
        return [], [Goal(w, None, ">=", limit, note) for w, limit in _goals()], []
    seeds = SEEDS[:1] if quick else SEEDS
    controls = {f"untrained {s}": untrained(s) for s in seeds}
    scores: dict[str, list[Array]] = {}
    for host in hosts:
        plain = _plain(host)
        mine: dict[str, Array] = {}
        for name, graph in {**models, **controls}.items():
            mine |= judged(host, ask(graph, host), name)
        for name, found in {**plain, **mine}.items():
            scores.setdefault(name, []).append(found)
    area = {
        n: np.array([vus_pr(s, h.label) for s, h in zip(found, hosts, strict=True)])
        for n, found in scores.items()
    }
    sources = sorted({h.source for h in hosts})
    rows = [_row(name, hosts, sources, area[name], scores[name]) for name in scores]
    columns = ["detector", *sources, "mean of sources", "mean of hosts", "event recall"]
    title = (
        f"anomalies on {len(hosts)} unseen hosts: VUS-PR (window {WINDOW}), and events touched at "
        "<= 1 false episode a day in <= 2 % of quiet time"
    )
    tables = [Table(title, columns, rows), _alarms(hosts, scores, list(models))]
    return tables, _compared(hosts, area, list(models), list(controls)), []


def _goals() -> tuple[tuple[str, float], ...]:
    return (
        (f"anomaly VUS-PR ÷ ({_BASE})", 1.05),
        ("anomaly VUS-PR ÷ untrained control", 1.02),
    )


def _mean(hosts: Sequence[Host], by_host: Array) -> float:
    """Mean of the sources' means: many hosts of one source are no more than few of another."""
    sources = sorted({h.source for h in hosts})
    return float(np.mean([_of(hosts, by_host, s) for s in sources]))


def _of(hosts: Sequence[Host], by_host: Array, source: str) -> float:
    mine = [v for h, v in zip(hosts, by_host, strict=True) if h.source == source]
    return float(np.nanmean(mine))


def _row(
    name: str, hosts: Sequence[Host], sources: Sequence[str], area: Array, scores: Sequence[Array]
) -> list[Cell]:
    recall = [event_recall(s, h) for s, h in zip(scores, hosts, strict=True)]
    by_source = [_of(hosts, area, s) for s in sources]
    mean = _mean(hosts, area)
    return [name, *by_source, mean, float(np.nanmean(area)), float(np.nanmean(recall))]


def _compared(
    hosts: Sequence[Host], area: Mapping[str, Array], models: list[str], controls: list[str]
) -> list[Goal]:
    mine = [_mean(hosts, area[m]) for m in models]
    chance = [_mean(hosts, area[c]) for c in controls]
    base = _mean(hosts, area[_BASE])
    (over_base, base_limit), (over_control, control_limit) = _goals()
    trained = f"{len(mine)} trained: sd {np.std(mine):.3f}"
    spread = f"{trained}; {len(chance)} untrained: sd {np.std(chance):.3f}"
    return [
        Goal(over_base, float(np.mean(mine)) / base, ">=", base_limit, trained),
        Goal(over_control, float(np.mean(mine) / np.mean(chance)), ">=", control_limit, spread),
    ]


def _alarms(
    hosts: Sequence[Host], scores: Mapping[str, Sequence[Array]], models: list[str]
) -> Table:
    """With one threshold for all hosts, set by nobody who saw labels."""
    rows: list[list[Cell]] = []
    for name in models:
        told = [alarms(s >= _ALARM, h) for s, h in zip(scores[name], hosts, strict=True)]
        caught, false, quiet = np.nanmean(np.array(told), axis=0)
        rows.append([name, float(caught), float(false), float(quiet)])
    columns = ["detector", "event recall", "false episodes a day", "share of quiet time"]
    return Table(f"alarms at a score of {_ALARM:g}", columns, rows)


def labelled(data: str, quick: bool) -> list[Host]:
    """Some hosts of each source, of those that the shipped model's card lists as held out."""
    out: list[Host] = []
    for path in traces.files(data):
        marks = _marks(path)
        if not marks or (quick and out):
            continue
        found = traces.read(path)
        keys = _held() & {t.key for t in found} or held_out(found)
        made = [_host(t, marks) for t in found if t.key in keys]
        out += [h for h in made if h is not None][: 1 if quick else _HOSTS]
    return out


def _marks(path: str) -> dict[str, NDArray[np.integer]]:
    if not path.endswith(".npz"):
        return {}
    with np.load(path) as z:
        names = [k for k in z.files if k.endswith("_label")]
        return {k: z[k] for k in names}


@cache
def _held() -> frozenset[str]:
    split = load_model().card.get("split")
    return (
        frozenset(map(str, split.get("held_out_hosts", [])))
        if isinstance(split, dict)
        else frozenset()
    )


def _host(trace: traces.Trace, marks: Mapping[str, NDArray[np.integer]]) -> Host | None:
    names = (f"{trace.host}_test_label", f"{trace.host}_label")
    label = next((marks[n] > 0 for n in names if n in marks), None)
    if label is None or not label.any():
        return None
    half = len(trace.values) - len(label)
    made = cut(trace, share=half / len(trace.values))
    if made is None:
        return None
    # On the grid of forecasts, and late enough for the farthest to have been made.
    first = np.linspace(2 * HORIZONS[-1], half - LENGTH, STRETCHES).astype(int) // EVERY * EVERY
    stretches = np.unique(first)[:, None] + np.arange(LENGTH)
    return Host(trace.source, trace.values.astype(float), label, half, made, stretches)


def ask(graph: Graph, host: Host) -> Said:
    """Run the model where its word is needed: at the stretches, and on all of the second half."""
    total, channels = host.values.shape
    rows = np.concatenate([host.stretches.ravel(), np.arange(host.half, total)])
    newest = rows // EVERY - 1  # forecast i is made at row EVERY * (i + 1) - 1
    wanted = np.unique(np.concatenate([newest, newest - 1, newest - _BACK]))
    wanted = wanted[wanted >= 0]
    medians, z, z_hat = _forecasts(graph, host.cut, (EVERY * (wanted + 1) - 1).tolist())
    place = np.full(total // EVERY + 1, -1)
    place[wanted] = np.arange(len(wanted))
    missed = np.full((total, 2, channels), np.nan)
    for back in (0, 1):
        made = rows // EVERY - 1 - back
        age = rows - (EVERY * (made + 1) - 1)
        known = (made >= 0) & (place[made] >= 0)
        expected = usual.foretold(medians[place[made]], age)
        actual = host.values[rows][:, host.cut.channels]
        error = np.where(known[:, None], actual - expected, np.nan)
        missed[rows[:, None], back, np.asarray(host.cut.channels)] = error
    return Said(missed, _latent(host, (place, z, z_hat)))


def _forecasts(graph: Graph, where: Cut, at: list[int]) -> tuple[Array, Array, Array]:
    """Medians [N, C', H], z [N, D], and z_hat of the farthest horizon [N, D]."""
    medians, z, z_hat = [], [], []
    chosen = np.arange(len(where.channels))
    for i in range(0, len(at), _BATCH):
        now = at[i : i + _BATCH]
        prepared = prepare_now(gather([where] * len(now), now, [chosen] * len(now)))
        said = finish(prepared, graph(prepared.feeds))
        medians.append(said.quantiles[..., 1])
        z.append(said.z)
        z_hat.append(said.z_hat[:, -1])
    return np.concatenate(medians), np.concatenate(z), np.concatenate(z_hat)


def _latent(host: Host, said: tuple[Index, Array, Array]) -> Array:
    """[T]: how far the newest latent came out from its prediction, against the first half."""
    place, z, z_hat = said
    made = np.arange(len(host.values)) // EVERY - 1
    now, then = place[np.maximum(made, 0)], place[np.maximum(made - _BACK, 0)]
    known = (made >= _BACK) & (now >= 0) & (then >= 0)
    missed = z[now] - z_hat[then]
    learned = known & (np.arange(len(known)) < host.half)
    variance = (missed[learned] ** 2).mean(0)
    return np.where(known, usual.latent_level(missed, variance), np.nan)


def judged(host: Host, said: Said, name: str) -> dict[str, Array]:
    """Scores [T - half] of the shipped detector, and of its latent term alone."""
    learned = usual.fit(
        host.values[host.stretches], said.missed[host.stretches], said.latent[host.stretches]
    )
    late = slice(host.half, None)
    level = usual.levels(learned, host.values[late], said.missed[late], said.latent[late])
    level = usual.smoothed(level)
    deep = usual.depth(learned, level)
    out = {f"latent distance of {name}": np.nan_to_num(level[:, -1])}
    if name.startswith("untrained"):
        out = {}
    return out | {name: np.nan_to_num(usual.deviations(deep))}


def _plain(host: Host) -> dict[str, Array]:
    """The same without a model, and what a look at each channel alone and chance give."""
    late = slice(host.half, None)
    nothing = np.full((len(host.values), 2, host.values.shape[1]), np.nan)
    silent = np.full(len(host.values), np.nan)
    at = host.stretches
    learned = usual.fit(host.values[at], nothing[at], silent[at])
    level = usual.smoothed(usual.levels(learned, host.values[late], nothing[late], silent[late]))
    deep = usual.depth(learned, level)
    chance = np.random.default_rng(0).normal(size=len(host.label))
    out = {"random": chance, "netdata-like bits": bits(host)}
    out |= {n: np.nan_to_num(level[:, i]) for i, n in enumerate(usual.TERMS[:_PLAIN])}
    # Its own ceiling and floor left away: a plain mean ranks better.
    return out | {_BASE: np.nan_to_num(deep[:, :_PLAIN].mean(1))}


def bits(host: Host) -> Array:
    """The share of channels far from both of two clusters of their own last changes, smoothed."""
    change = np.diff(host.values, axis=0, prepend=host.values[:1])
    smooth = (change + np.roll(change, 1, 0) + np.roll(change, 2, 0)) / 3
    lags = np.abs(np.stack([np.roll(smooth, i, 0) for i in range(6)], -1))  # [T, C, 6]
    learned = lags[host.stretches.ravel()]
    centres = np.quantile(learned, (0.25, 0.95), axis=0)  # [2, C, 6]
    for _ in range(8):
        mine = _apart(learned, centres).argmin(0) == np.arange(2)[:, None, None]
        count = mine.sum(1)[..., None]
        moved = np.einsum("kbc,bcf->kcf", mine, learned) / np.maximum(count, 1)
        centres = np.where(count > 0, moved, centres)
    limit = np.quantile(_apart(learned, centres).min(0), 0.99, axis=0)
    rate = (_apart(lags, centres).min(0) > limit).mean(1)
    kernel = np.ones(8) / 8
    out: Array = np.convolve(rate, kernel)[: len(rate)][host.half :]
    return out


def _apart(rows: Array, centres: Array) -> Array:
    out: Array = ((rows - centres[:, None]) ** 2).sum(-1)
    return out


def event_recall(score: Array, host: Host) -> float:
    """The largest share of events touched, over thresholds that disturb little enough.

    The threshold is chosen with the labels, host by host and for every detector alike.
    """
    best = 0.0
    for share in np.geomspace(1e-4, 0.3, 80):
        caught, false, quiet = alarms(score > np.quantile(score, 1 - share), host)
        if false <= 1 and quiet <= _MOST_TIME:
            best = max(best, caught)
    return best


def alarms(told: Flags, host: Host) -> tuple[float, float, float]:
    """Share of events touched, false episodes a day, share of quiet time alarmed."""
    found = events(host.label)
    caught = np.mean([told[a : b + 1].any() for a, b in found])
    joined = np.convolve(told, np.ones(_APART))[: len(told)] > 0
    false = sum(not host.label[a : b + 1].any() for a, b in events(joined))
    return (
        float(caught),
        float(false) / host.days,
        float((told & ~host.label).sum() / (~host.label).sum()),
    )


def untrained(seed: int) -> Graph:
    """The network that ships, as it was before any training."""
    import torch

    from jepad.jepa.config import Shape
    from jepad.jepa.world import Exported, Feeds, WorldModel
    from jepad.learn.export import OUTPUTS

    torch.manual_seed(1000 + seed)
    graph = Exported(WorldModel(Shape()).float()).eval()

    def infer(feeds: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        with torch.no_grad():
            outputs = graph(*(torch.from_numpy(feeds[name]) for name in Feeds._fields))
        return {n: t.numpy() for n, t in zip(OUTPUTS, outputs, strict=True)}

    return infer

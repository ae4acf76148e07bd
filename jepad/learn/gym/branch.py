"""What a guest is asked to do: a trunk of load, then the same moment again with each action.

Owns: the seeded plans, carrying them out on one guest at a time, and the episodes they become.
An episode is the trunk's rows and a branch's; the branch without an action is the twin of the
others, exact to the row up to the action. Some seeds are long guests without any action, calm
and short of memory by turns. Does not know: qemu, the frames' format, or what is learned from it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jepad.errors import JepadError
from jepad.learn.gym import frames, image
from jepad.learn.gym.episodes import Applied, Episode, append, read_manifest, split_of
from jepad.learn.gym.frames import Frame
from jepad.learn.gym.guest import SWAP_MIB, Guest, ready
from jepad.learn.gym.labels import summary
from jepad.sources.replay import read_trace

TRUNK_S = 130.0
#: The longest horizon an effect is measured at, and a row more.
BRANCH_S = 66.0
#: What a guest leaves to its units, and what it may be cut to.
_FREE_MIB = 390
_CUTS_MIB = (0, 0, 60, 120, 180, 220, 250)
_CGROUP = "/sys/fs/cgroup"
_DISK = "/sys/block/sda"
_ANONYMOUS = ("leak", "hog", "burst")
_CALM = ("files", "stream", "sqlite", "archive", "idle")
_SMALLEST = float(8 << 20)
#: One guest may go wrong; so many in a row are no guest's fault.
_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Load:
    """One load in a group of its own name; `args` are the A, B and C of the agent's `run`."""

    unit: str
    args: tuple[int, int, int]
    start: float = 1.0
    end: float = 0.0  # 0 = not


@dataclass(frozen=True, slots=True)
class Wish:
    """An action whose value is a share of what the unit uses when its time has come."""

    kind: str
    unit: str
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One seed's guest."""

    seed: int
    hz: float
    seconds: float  # of the trunk
    cut_mib: int  # taken from the memory before anything starts
    swap: bool
    disk: tuple[int, int, int, int]  # ns a request, requests at once, KiB a request, KiB ahead
    loads: tuple[Load, ...]
    wishes: tuple[Wish, ...] = ()
    frozen: str = ""  # a unit that is frozen late in the trunk, for a thaw to act on

    @property
    def free_mib(self) -> int:
        """What all units together have."""
        return _FREE_MIB - self.cut_mib


def plan(seed: int) -> Plan:
    """The plan of a seed, always the same: every fourth is a long guest without actions, every
    eighth tells ten times a second."""
    rng = random.Random(f"guest {seed}")
    long = seed % 4 == 3
    made = Plan(
        seed=seed,
        hz=10.0 if seed % 8 == 5 else 1.0,
        seconds=float(rng.randrange(1200, 1800, 60)) if long else TRUNK_S,
        cut_mib=rng.choice(_CUTS_MIB),
        swap=seed // 4 % 2 == 0 if long else rng.random() < 0.5,
        disk=(
            rng.choice((100_000, 300_000, 1_000_000, 3_000_000, 6_000_000)),
            rng.choice((1, 2, 4, 16)),
            rng.choice((64, 128, 256)),
            rng.choice((32, 128, 256)),
        ),
        loads=(),
    )
    return _episodic(rng, made) if long else _acted(rng, made)


def _acted(rng: random.Random, made: Plan) -> Plan:
    """Two to four units that together want about all the memory there is."""
    anonymous = rng.sample(_ANONYMOUS, rng.choice((0, 1, 1, 1, 2)))
    calm = rng.sample(_CALM, rng.choice((1, 1, 2)) + (not anonymous))
    if rng.random() < 0.1:
        # Seldom: one compilation keeps so slow a machine busy for a minute.
        calm[0] = "compile"
    wanted = made.free_mib * (rng.uniform(0.8, 1.6) if made.swap else rng.uniform(0.6, 1.05))
    loads = [_load(rng, kind, wanted / len(anonymous)) for kind in anonymous]
    loads += [_load(rng, kind, made.free_mib) for kind in calm]
    made = replace(made, loads=tuple(replace(load, start=rng.uniform(1, 40)) for load in loads))
    frozen = rng.choice(loads).unit if rng.random() < 0.25 else ""
    return replace(made, wishes=tuple(_wishes(rng, loads, frozen)), frozen=frozen)


def _load(rng: random.Random, kind: str, mib: float) -> Load:
    """A load of a kind; `mib` is what an anonymous one takes and what a caching one has around."""
    some = max(int(mib), 8)
    args = {
        "leak": (rng.randint(600, 4000), some, rng.randint(5, 60)),
        "hog": (some, rng.randint(4, 80), 0),
        "burst": (some, rng.randint(2, 10), rng.randint(8, 40)),
        "files": (rng.randint(1, 6), rng.randint(100, 500), rng.randint(0, 50)),
        "stream": (rng.randint(500, 5000), rng.choice((0, 0, 10, 40)), rng.randint(8, 48)),
        "compile": (rng.randint(2000, 9000), 0, 0),
        "sqlite": (rng.randint(40, 300), rng.randint(2000, 40000), rng.randint(8, 50)),
        "archive": (rng.randint(0, 1), rng.randint(1, 2), rng.randint(60, 300)),
        "idle": (0, 0, 0),
    }
    return Load(kind, args[kind])


def _wishes(rng: random.Random, loads: Sequence[Load], frozen: str) -> Iterator[Wish]:
    """Four actions, or five with a thaw; squeezing memory is always among them."""
    busy = [load.unit for load in loads if load.unit not in ("idle", frozen)]
    busy = busy or [loads[0].unit]
    kinds = ["memory.high", *rng.sample(("memory.low", "cpu.weight", "freeze", "drop_caches"), 2)]
    kinds.append(rng.choice(("memory.high", "cpu.weight", "freeze", "drop_caches", "memory.low")))
    seen: set[tuple[str, str]] = set()
    for i, kind in enumerate(kinds):
        unit = "" if kind == "drop_caches" else busy[i % len(busy)]
        share = {
            "memory.high": rng.uniform(0.5, 0.9),
            "memory.low": rng.uniform(0.6, 1.0),
            "cpu.weight": rng.choice((10.0, 25.0, 400.0, 1000.0)),
        }
        if (kind, unit) not in seen:
            yield Wish(kind, unit, share.get(kind, 0.0))
        seen.add((kind, unit))
    if frozen:
        yield Wish("thaw", frozen)


def _episodic(rng: random.Random, made: Plan) -> Plan:
    """A service all the time; now and then something takes the memory, and is ended again."""
    steady = [_load(rng, "files", made.free_mib), _load(rng, rng.choice(("sqlite", "idle")), 0)]
    loads, t = list(steady), rng.uniform(60, 120)
    while t < made.seconds - 90:
        kind = rng.choice(("leak", "leak", "hog", "stream", "burst"))
        share = rng.uniform(0.7, 1.6) if made.swap else rng.uniform(0.7, 1.08)
        lasts = rng.uniform(20, 80)
        load = _load(rng, kind, made.free_mib * share)
        if kind == "leak":
            # Full within its time, however large.
            rate = int(load.args[1] * 1024 / lasts * rng.uniform(1.0, 2.5))
            load = replace(load, args=(rate, load.args[1], 30))
        loads.append(replace(load, start=t, end=t + lasts))
        t += lasts + rng.choice((20.0, 45.0, 90.0, 150.0)) * rng.uniform(0.7, 1.3)
    return replace(made, loads=tuple(loads))


def script(made: Plan) -> list[str]:
    """The agent's commands for the trunk."""
    delay, at_once, request, ahead = made.disk
    lines = [
        f"hz {made.hz:.0f}",
        # As the kernel sets them itself where there is so little memory: the disk's doesn't count.
        "0 write /sys/kernel/mm/transparent_hugepage/enabled never",
        "0 write /proc/sys/vm/min_free_kbytes 2800",
        f"0 write /proc/sys/vm/nr_hugepages {made.cut_mib // 2}",
        f"0 write /sys/bus/pseudo/drivers/scsi_debug/ndelay {delay}",
        f"0 write {_DISK}/device/queue_depth {at_once}",
        f"0 write {_DISK}/queue/max_sectors_kb {request}",
        f"0 write {_DISK}/queue/read_ahead_kb {ahead}",
    ]
    lines += ["0 swapon /swapfile"] if made.swap else []
    for i, load in enumerate(made.loads):
        args = " ".join(map(str, load.args))
        lines.append(f"{load.start:.1f} run {load.unit} {load.unit} {made.seed * 64 + i} {args}")
        lines += [f"{load.end:.1f} stop {load.unit}"] if load.end else []
    if made.frozen:
        lines.append(f"{made.seconds - 20:.1f} write {_CGROUP}/{made.frozen}/cgroup.freeze 1")
    return [*lines, "go"]


def applied(wish: Wish, last: Frame) -> Applied:
    """The action in figures, by what its unit used last; its time is not known yet."""
    value = wish.share
    if wish.kind.startswith("memory."):
        value = max(float(int(wish.share * frames.usage(last, wish.unit))), _SMALLEST)
    return Applied(0.0, wish.kind, wish.unit, value)


def command(action: Applied) -> str:
    """The agent's command for an action."""
    if action.kind == "drop_caches":
        return "0 act /proc/sys/vm/drop_caches 3"
    if action.kind in ("freeze", "thaw"):
        return f"0 act {_CGROUP}/{action.unit}/cgroup.freeze {action.kind == 'freeze':d}"
    return f"0 act {_CGROUP}/{action.unit}/{action.kind} {action.value:.0f}"


def run(
    out: Path, minutes: float, first_seed: int, progress: Callable[[str], object] = print
) -> None:
    """Record guests of rising seeds, none begun after the time; those recorded whole are left.
    A guest that fails costs what is left of its seed, and three in a row end it all."""
    end = time.monotonic() + 60 * minutes
    picture = image.build()
    base = _Base(picture, ready(picture))
    failures = 0
    for made in map(plan, itertools.count(first_seed)):
        if time.monotonic() >= end:
            return
        if recorded(out, made) == len(ids(made)):
            continue
        try:
            _record(out, made, base, progress)
            failures = 0
        except JepadError as error:
            failures += 1
            progress(f"{_name(made.seed)} given up: {error}")
            if failures == _FAILURES:
                raise


def ids(made: Plan) -> list[str]:
    """Names of all episodes of a seed, in the order they are recorded: the twin first."""
    return [_name(made.seed, wish) for wish in (None, *made.wishes)]


def recorded(out: Path, made: Plan) -> int:
    """How many of them the manifest has."""
    return len({e.id for e in read_manifest(str(out))} & set(ids(made)))


def _name(seed: int, action: Wish | Applied | None = None) -> str:
    twin = f"guest-{seed:04d}"
    return "-".join([twin, action.kind, action.unit]).strip("-") if action else twin


@dataclass(frozen=True, slots=True)
class _Base:
    """What every guest starts from."""

    picture: image.Image
    disk: str


def _record(out: Path, made: Plan, base: _Base, progress: Callable[[str], object]) -> None:
    """All episodes of one seed. Twins are exact within one run of the trunk alone: those of an
    earlier run stay until this one has more, and are then replaced together."""
    began, had = time.monotonic(), recorded(out, made)
    with _aside(out, made) as place:
        waiting: list[Episode] = []
        for count, episode in enumerate(_episodes(place, made, base), 1):
            waiting.append(episode)
            if count > had:
                _keep(place, out, waiting)
                waiting = []
            progress(_line(made, episode, time.monotonic() - began))


@contextlib.contextmanager
def _aside(out: Path, made: Plan) -> Iterator[Path]:
    """Where traces wait; what a kill left there goes when its seed is recorded again."""
    place = out / f"{_name(made.seed)}.part"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _keep(place: Path, out: Path, episodes: Sequence[Episode]) -> None:
    for episode in episodes:
        os.replace(place / episode.file, out / episode.file)
        append(str(out), episode)


def _line(made: Plan, episode: Episode, took_s: float) -> str:
    labels = episode.labels
    return (
        f"{episode.id}: {made.free_mib} MiB{' and swap' * made.swap} for "
        f"{', '.join(episode.units)}; {episode.seconds:.0f} s, psi "
        f"{labels.get('psi_memory_max', 0.0):.0f} %, {labels.get('oom_kills', 0.0):.0f} killed; "
        f"{took_s:.0f} s into its seed"
    )


def _episodes(out: Path, made: Plan, base: _Base) -> Iterator[Episode]:
    with Guest(base.picture, base.disk, "ready") as guest:
        guest.tell(*script(made))
        trunk = guest.run(made.seconds)
        if not made.wishes:
            yield _written(out, made, trunk, base, None)
            return
        guest.save("trunk")
        for wish in (None, *made.wishes):
            guest.load("trunk")
            action = applied(wish, trunk[-1]) if wish else None
            guest.tell(command(action) if action else "0 noop -")
            branch = guest.run(BRANCH_S)
            if action:
                # The agent reads at its next tick: that row is still the same in all branches.
                t = round((branch[0].t_ns - trunk[0].t_ns) * 1e-9, 4)
                action = replace(action, t=t)
            yield _written(out, made, trunk + branch, base, action)


def _written(
    out: Path, made: Plan, seen: Sequence[Frame], base: _Base, action: Applied | None
) -> Episode:
    """The trace file of one branch and its line of the manifest."""
    units = sorted({load.unit for load in made.loads})
    table = frames.rows(seen, units)
    name = _name(made.seed, action)
    frames.write(str(out / f"{name}.csv.gz"), table)
    total_mib = int(table.column("mem.MemTotal")[-1]) // 1024
    return Episode(
        id=name,
        file=f"{name}.csv.gz",
        floor="guest",
        seed=made.seed,
        hz=made.hz,
        seconds=round(float(table.t_s[-1]), 1),
        kernel=f"Linux {base.picture.release} x86_64, qemu in virtual time, cgroup v2",
        # The disk lives in the guest's own memory, where no unit can have it.
        memory_mib=total_mib - image.DISK_MIB - made.cut_mib,
        swap_mib=SWAP_MIB if made.swap else 0,
        units={unit: unit for unit in units},
        actions=(action,) if action else (),
        twin=_name(made.seed) if action else None,
        split=split_of(made.seed),
        labels=summary(read_trace(str(out / f"{name}.csv.gz"))),
    )

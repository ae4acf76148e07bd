"""The native floor: sessions under this machine's own kernel, at full speed, in control groups.

Owns: one session from its first process to its last, the rows in between, and the files left.
Does not know: which sessions are wanted (`__main__.py`), what units are (`workloads.py`).
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import itertools
import math
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from jepad.errors import JepadError, SettingError
from jepad.learn.gym import groups, workloads
from jepad.learn.gym.episodes import Applied, Episode, append, read_manifest, split_of
from jepad.learn.gym.groups import Group, Groups
from jepad.learn.gym.labels import Labels, summary
from jepad.learn.gym.schedule import MIB, TRAITS, Ground, Plan, plan
from jepad.learn.gym.workloads import Bench, Job
from jepad.paths import Roots
from jepad.sources.record import TraceWriter
from jepad.sources.registry import build
from jepad.sources.replay import read_trace
from jepad.sources.snapshot import Snapshot
from jepad.sources.source import Source

CACHE = "/var/cache"
GROUND = Ground(
    "native",
    "jepad-gym",
    tuple(TRAITS),
    {"memory.high": 4, "cpu.weight": 3, "freeze": 3, "drop_caches": 1, "memory.low": 1},
)
#: Ten rows a second of everything would be the size of ten sessions: no slow sources, and none of
#: the series that others there nearly give.
_QUICK = ("cpu", "memory", "vmstat", "psi", "disk")
_NEARLY = re.compile(r"cpu\d+\..+|psi\..+\.avg10|vm\.nr_.+|mem\.(Ina|A)ctive|load\d+")
#: Less than this left to others ends the session: the gym never brings a machine down.
_FLOOR_KIB = 4 << 20
_DISK_BYTES = 4 << 30
_PATIENCE_S = 20.0
#: A unit's processes end by themselves so long after the session, should the gym be gone.
_GRACE_S = 60.0
#: /bin/sh walks into the groups before it becomes the job.
_ENTER = 'for d in $JEPAD_GYM_DOORS; do echo 0 > "$d" || exit 97; done; exec "$@"'


@dataclass(frozen=True, slots=True)
class Take:
    """One session to record: a plan with its actions, or the twin without."""

    plan: Plan
    twin: bool

    @property
    def id(self) -> str:
        """Names the episode."""
        return f"native-{self.plan.seed:04d}{'-twin' if self.twin else ''}"

    @property
    def actions(self) -> tuple[Applied, ...]:
        """What is done in it."""
        return () if self.twin else self.plan.actions


def takes(seed: int, ground: Ground = GROUND) -> list[Take]:
    """The sessions of a seed: the twin first, so that the manifest never names one it lacks."""
    whole = plan(seed, ground)
    return (
        [Take(whole, twin=True), Take(whole, twin=False)]
        if whole.actions
        else [Take(whole, twin=False)]
    )


@dataclass(frozen=True, slots=True)
class Gym:
    """The native floor, ready: groups swept, material made, nobody else at it."""

    out: str
    ground: Ground
    place: str

    def wanted(self, seed: int) -> list[Take]:
        """The sessions of this seed that the manifest lacks."""
        there = {episode.id for episode in read_manifest(self.out)}
        return [take for take in takes(seed, self.ground) if take.id not in there]

    def record(self, take: Take, on_row: Callable[[float], None]) -> Episode:
        """Run one session to its end; `on_row` hears the time of each row."""
        bench = Bench(self.place, take.plan.seed)
        part = os.path.join(self.place, f"{take.id}.csv")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        workloads.clear(bench)
        workloads.evict(self.place)
        with groups.below(self.ground.prefix):
            done = _Session(take, bench).run(part, on_row)
        return self._keep(take, part, done)

    def _keep(self, take: Take, part: str, done: list[Applied]) -> Episode:
        trace = read_trace(part)
        there = {e.id for e in read_manifest(self.out)}
        twin = f"{take.id}-twin"
        episode = Episode(
            id=take.id,
            file=f"{take.id}.csv.gz",
            floor="native",
            seed=take.plan.seed,
            hz=take.plan.hz,
            seconds=round(float(trace.t_s[-1]), 1),
            kernel=f"Linux {os.uname().release} {os.uname().machine}; {groups.STOOD_FOR}",
            memory_mib=_meminfo("MemTotal") // 1024,
            swap_mib=_meminfo("SwapTotal") // 1024,
            units={unit.name: unit.workload for unit in take.plan.units},
            actions=tuple(done),
            twin=twin if twin in there else None,
            split=split_of(take.plan.seed),
            labels=summary(trace),
        )
        _pack(part, os.path.join(self.out, episode.file))
        append(self.out, episode)
        return episode


@contextlib.contextmanager
def opened(out: str, ground: Ground = GROUND) -> Iterator[Gym]:
    """The floor for one process at a time; all it made outside `out` is gone afterwards."""
    groups.check()
    workloads.check(ground.workloads)
    place = os.path.join(CACHE, ground.prefix)
    if shutil.disk_usage(CACHE).free < _DISK_BYTES:
        raise SettingError(f"{CACHE}: the gym's files need 4 GiB there; free some")
    os.makedirs(place, exist_ok=True)
    os.makedirs(out, exist_ok=True)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(f"{place}: another gym is recording on this machine") from None
        try:
            groups.sweep(ground.prefix)
            workloads.prepare(place, ground.workloads)
            yield Gym(out, ground, place)
        finally:
            groups.sweep(ground.prefix)
            shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(fd)


class _Session:
    """One session while it runs."""

    def __init__(self, take: Take, bench: Bench) -> None:
        self._take = take
        self._bench = bench
        self._groups = {unit.name: Group(unit.name) for unit in take.plan.units}
        self._children: list[tuple[Job, subprocess.Popen[bytes]]] = []

    def run(self, part: str, on_row: Callable[[float], None]) -> list[Applied]:
        """Start all, write rows until the end, end all; the actions as they were done."""
        try:
            for unit in self._take.plan.units:
                self._groups[unit.name].make(unit.memory_mib * MIB, unit.cores)
                for job in workloads.jobs(unit, self._bench):
                    self._start(job, self._groups[unit.name].doors if job.inside else [])
            return self._rows(part, on_row)
        finally:
            self._end()

    def _start(self, job: Job, doors: list[str]) -> None:
        deadline = str(int(self._take.plan.seconds + _GRACE_S))
        bound = ("setpriv", "--pdeathsig", "TERM", "timeout", "-k", "2", deadline)
        with open(self._said(job), "wb") as said:
            child = subprocess.Popen(
                ["/bin/sh", "-c", _ENTER, "sh", *bound, *job.argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=self._bench.work,
                env={**os.environ, "JEPAD_GYM_DOORS": " ".join(doors), "TMPDIR": self._bench.work},
                start_new_session=True,
            )
        self._children.append((job, child))

    def _said(self, job: Job) -> str:
        return os.path.join(self._bench.work, f"{job.name}.err")

    def _end(self) -> None:
        """End all that can be ended, and say only then what resisted."""
        resisted: list[str] = []
        for group in self._groups.values():
            try:
                group.remove()
            except (JepadError, OSError) as error:
                resisted.append(str(error))
        for job, child in self._children:
            if not _ended(child):
                resisted.append(f"{job.name}: had to be killed")
        if resisted:
            raise SettingError("; ".join(resisted))

    def _rows(self, part: str, on_row: Callable[[float], None]) -> list[Applied]:
        snapshot = self._snapshot()
        quick = self._take.plan.hz > 1
        kept = [not (quick and _NEARLY.fullmatch(s.name)) for s in snapshot.series]
        writer = TraceWriter(part, list(itertools.compress(snapshot.series, kept)))
        step = 1.0 / self._take.plan.hz
        began = time.monotonic()
        left, due = list(self._take.actions), 0.0
        # The kernel may take seconds over dropping caches; the rows go on meanwhile.
        doer = ThreadPoolExecutor(1, "gym-actions")
        done: list[Future[Applied]] = []
        try:
            while due <= self._take.plan.seconds:
                while left and left[0].t <= due:
                    _until(began + left[0].t)
                    done.append(doer.submit(self._act, left.pop(0), began))
                _until(began + due)
                t = time.monotonic() - began
                writer.append(round(t, 3), snapshot.take().values[kept])
                on_row(t)
                self._watch()
                # A row that came late by whole steps leaves them out, and crowds none.
                due = step * (math.floor(t / step + 1e-6) + 1)
        finally:
            writer.close()
            snapshot.close()
            doer.shutdown()
        return [action.result(_PATIENCE_S) for action in done]

    def _snapshot(self) -> Snapshot:
        names = _QUICK if self._take.plan.hz > 1 else None
        told = {j.name: c.stdout.fileno() for j, c in self._children if c.stdout and j.tells}
        asks = {job.name for job, _ in self._children if job.asks}
        own: list[Source] = [Groups(list(self._groups.values())), Labels(told, asks)]
        return Snapshot([*build(Roots(), names, without=("cgroup",)), *own])

    def _act(self, action: Applied, began: float) -> Applied:
        t = round(time.monotonic() - began, 3)
        if action.kind == "drop_caches":
            with open("/proc/sys/vm/drop_caches", "w") as f:
                f.write("1")
            return replace(action, t=t)
        return replace(action, t=t, value=self._groups[action.unit].act(action.kind, action.value))

    def _watch(self) -> None:
        """End the session where the machine runs short, or a load can't run."""
        if _meminfo("MemAvailable") < _FLOOR_KIB:
            raise SettingError("less than 4 GiB of memory left to others: run the gym later")
        for job, child in self._children:
            # What the kernel killed for want of memory is a label; the loop of a shell goes on.
            if child.poll() not in (None, 0, -9, 137):
                with open(self._said(job), errors="replace") as f:
                    raise SettingError(
                        f"{job.name}: ended with {child.returncode}: {f.read():.300}"
                    )


def _ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether it ended when asked to; else it is killed with all it started."""
    child.terminate()  # which timeout hands on; a client stands in no group
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_PATIENCE_S)
        return False
    finally:
        if child.stdout:
            child.stdout.close()
    return True


def _until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _meminfo(key: str) -> int:
    """KiB."""
    with open("/proc/meminfo") as f:
        return next((int(line.split()[1]) for line in f if line.startswith(f"{key}:")), 0)


def _pack(part: str, target: str) -> None:
    """One gzip member packs best; the file appears whole or not at all."""
    fresh = f"{target}.new"
    with open(part, "rb") as rows, open(fresh, "wb") as f:
        f.write(gzip.compress(rows.read(), 9, mtime=0))
        f.flush()
        os.fsync(f.fileno())
    os.replace(fresh, target)
    os.unlink(part)

"""A made-up machine of two control groups, written as a gym's directory: the format, no kernel."""

import gzip
import os

import numpy as np

from jepad.learn.gym.episodes import Applied, Episode, append, split_of

MIB = 2**20
NAMES = (
    "cpu.busy",
    "cpu.idle",
    "mem.MemFree",
    "mem.Cached",
    "psi.memory.some.total",
    "cgroup.gym/a.memory_current",
    "cgroup.gym/a.cpu_usage",
    "cgroup.gym/a.memory_pressure",
    "cgroup.gym/b.memory_current",
    "cgroup.gym/b.cpu_usage",
)
KINDS = ("freeze", "memory.high", "cpu.weight", "drop_caches")
ACTS_AT, SECONDS = 40.0, 110


def run(seed, action, hz=1.0):
    """Rows [T, 1 + C]: raw, as sources give them."""
    draw = np.random.default_rng(seed)
    rate, growth = draw.uniform(2e5, 9e5), draw.uniform(0.2, 2) * MIB
    held, cached = draw.uniform(50, 200) * MIB, draw.uniform(200, 900) * MIB
    psi, used, other, ticks, rows = 0.0, 0.0, 0.0, 0.0, []
    noise = np.random.default_rng(seed + 1000)
    for i in range(int(SECONDS * hz)):
        t = i / hz
        jitter = 1 + 0.05 * noise.standard_normal(2)
        on = action is not None and t > action.t
        kind = action.kind if on else ""
        mine = {"freeze": 0.0, "cpu.weight": 0.3}.get(kind, 1.0) * rate * jitter[0]
        theirs = 3e5 * jitter[1] + (0.3 * rate if kind == "cpu.weight" else 0.0)
        held += 0.0 if kind == "freeze" else growth / hz
        squeezed = kind == "memory.high" and held > action.value
        held = min(held, action.value) if squeezed else held
        psi += 4e5 / hz if squeezed else 0.0
        cached = 20 * MIB if kind == "drop_caches" and t <= action.t + 1 / hz else cached + 1e5 / hz
        used, other = used + mine / hz, other + theirs / hz
        ticks += (mine + theirs) / 1e4 / hz
        free = 4e9 - held - cached
        rows.append((t, ticks, 200 * t - ticks, free / 1024, cached / 1024, psi))
        rows[-1] += (held, used, psi, 30 * MIB, other)
    return rows


def action_of(seed):
    kind = KINDS[seed % len(KINDS)]
    value = {"memory.high": 40.0 * MIB, "cpu.weight": 25.0}.get(kind, 0.0)
    return Applied(ACTS_AT, kind, "" if kind == "drop_caches" else "gym/a", value)


def write(directory, seeds, hz=1.0):
    """A gym of these seeds."""
    for seed in seeds:
        for action in (None, action_of(seed)):
            name = f"made-{seed}{'' if action else '-twin'}"
            text = "\n".join(
                [",".join(("t", *NAMES))]
                + [",".join(f"{v:.12g}" if j else f"{v:.3f}" for j, v in enumerate(row))
                   for row in run(seed, action, hz)]
            )  # fmt: skip
            with gzip.open(os.path.join(directory, f"{name}.csv.gz"), "wt") as f:
                f.write(text + "\n")
            append(
                str(directory),
                Episode(
                    id=name,
                    file=f"{name}.csv.gz",
                    floor="native",
                    seed=seed,
                    hz=hz,
                    seconds=float(SECONDS),
                    kernel="none",
                    memory_mib=4096,
                    swap_mib=0,
                    units={"gym/a": "made", "gym/b": "made"},
                    actions=(action,) if action else (),
                    twin=f"made-{seed}-twin" if action else None,
                    split=split_of(seed),
                ),
            )

"""Which series are forecast.

Owns: the patterns in order of worth, and the cut to what the model can carry.
Does not know rings or forecasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from jepad.records import Series

MAX_CHANNELS = 32

#: First match first: what risks rest on comes before what is nice to see.
PATTERNS = (
    "cpu.busy",
    "mem.MemAvailable",
    "mem.MemFree",
    "psi.memory.some.total",
    "psi.cpu.some.total",
    "psi.io.some.total",
    "psi.memory.full.total",
    "psi.io.full.total",
    "vm.workingset_refault_file",
    "vm.pgmajfault",
    "vm.pgscan_*",
    "load1",
    "cpu.iowait",
    "cpu.user",
    "cpu.system",
    "gpu*.util",
    "gpu*.mem",
    "temp.*",
    "power.*",
    "disk.[!zl]*.iot",
    "disk.[!zl]*.rds",
    "disk.[!zl]*.wrs",
    "net.[!l]*.rxB",
    "net.[!l]*.txB",
    "gpu*.power",
    "gpu*.temp",
    "mem.Dirty",
    "ctxt",
)


#: A pattern's first share; what is left over goes to those that match more.
FIRST_SHARE = 4


def choose(
    series: Sequence[Series], patterns: Sequence[str] = (), limit: int = MAX_CHANNELS
) -> list[int]:
    """Places of the chosen series, in order of the patterns; each series once.

    Without patterns ours count; a trace whose names none of them knows is taken as it comes."""
    first: dict[int, None] = {}
    rest: dict[int, None] = {}
    for pattern in patterns or PATTERNS:
        # Twenty temperatures of one board must not crowd out its disks.
        matches = [i for i, one in enumerate(series) if fnmatchcase(one.name, pattern)]
        first.update(dict.fromkeys(matches[:FIRST_SHARE]))
        rest.update(dict.fromkeys(matches[FIRST_SHARE:]))
    if not first and not patterns:
        return list(range(min(limit, len(series))))
    return list(first | rest)[:limit]

"""The sources there are, as a plain list.

Owns: which constructors exist and which names a configuration may use.
Does not know: what any of them reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from jepad.errors import SettingError
from jepad.paths import Roots
from jepad.sources.cgroup import Cgroup
from jepad.sources.cpu import Cpu
from jepad.sources.disk import Disk
from jepad.sources.drm import Drm
from jepad.sources.files import Files
from jepad.sources.filesystem import Filesystem
from jepad.sources.frequency import Frequency
from jepad.sources.memory import Memory
from jepad.sources.network import Network
from jepad.sources.nvidia import Nvidia
from jepad.sources.power import Power
from jepad.sources.processes import Processes
from jepad.sources.psi import Psi
from jepad.sources.rapl import Rapl
from jepad.sources.slow import Slow
from jepad.sources.source import Source
from jepad.sources.thermal import Thermal
from jepad.sources.vmstat import Vmstat

#: Order is the order of the series in a sample. What may block or costs much has its own thread,
#: and gives gauges only: a counter read less often than the tick would jump.
SOURCES: list[Callable[[Roots], Source]] = [
    Cpu,
    Memory,
    Vmstat,
    Psi,
    Disk,
    Network,
    Files,
    Cgroup,
    Rapl,
    lambda roots: Slow(Filesystem(roots), 10.0),
    lambda roots: Slow(Processes(roots), 5.0),
    lambda roots: Slow(Frequency(roots), 2.0),
    lambda roots: Slow(Thermal(roots), 2.0),
    lambda roots: Slow(Power(roots), 5.0),
    lambda roots: Slow(Nvidia(roots), 1.0),
    lambda roots: Slow(Drm(roots), 2.0),
]


def build(
    roots: Roots, names: Collection[str] | None = None, without: Collection[str] = ()
) -> list[Source]:
    """All sources, or those named, but for those in `without`; SettingError for a name that is
    none."""
    sources = [make(roots) for make in SOURCES]
    known = [source.name for source in sources]
    unknown = sorted({*(names or ()), *without} - set(known))
    if unknown:
        raise SettingError(f"no source is called {unknown[0]!r}; there are {', '.join(known)}")
    wanted = set(known if names is None else names) - set(without)
    return [source for source in sources if source.name in wanted]


def processes_of(sources: Iterable[Source]) -> Processes | None:
    """The source that knows the tasks by name, where it is among them."""
    for source in sources:
        inner = source.source if isinstance(source, Slow) else source
        if isinstance(inner, Processes):
            return inner
    return None

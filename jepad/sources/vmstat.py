"""What the memory management does: paging, reclaim, refaults, compaction, stalls.

Owns: /proc/vmstat. Does not know: the levels (memory.py).
"""

from __future__ import annotations

from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import KeyedFile

_KEYS = (
    "pgpgin pgpgout pswpin pswpout pgfault pgmajfault pgalloc_normal pgfree pgscan_kswapd "
    "pgscan_direct pgsteal_kswapd pgsteal_direct allocstall_normal allocstall_movable "
    "workingset_refault_file workingset_refault_anon workingset_activate_file oom_kill "
    "compact_stall nr_dirty nr_writeback nr_free_pages nr_inactive_file nr_active_file "
    "nr_inactive_anon nr_active_anon thp_fault_alloc kswapd_low_wmark_hit_quickly pageoutrun "
    "nr_slab_unreclaimable nr_kernel_stack nr_page_table_pages"
)


class Vmstat:
    """Events since boot, and page counts where the name begins with nr_."""

    name = "vmstat"

    def __init__(self, roots: Roots) -> None:
        """Name the file."""
        self._file = KeyedFile(f"{roots.proc}/vmstat", _KEYS)
        self._names: dict[str, str] = {}

    def describe(self) -> tuple[Series, ...]:
        """The events this kernel counts."""
        self._names = {key: f"vm.{key}" for key in self._file.learn()}
        return tuple(
            Series(name, "page", "gauge")
            if name.startswith("vm.nr_")
            else Series(name, "event", "counter")
            for name in self._names.values()
        )

    def read(self) -> dict[str, float]:
        """Counts now."""
        return {self._names[key]: value for key, value in self._file.read().items()}

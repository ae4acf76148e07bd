"""What was learned of each series, by its name: it outlives streams, sets of series and us.

Owns: the records, how they are persisted and checked, which belong to this model and step.
Does not know: how anything is learned, files' whereabouts.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from jepad.engine.days import MOST_BYTES, Days, Key, Stored
from jepad.engine.keep import Keep, Refused
from jepad.engine.scale import Scale
from jepad.heads.unusual import Unusual
from jepad.records import Floats, Series

log = logging.getLogger(__name__)

LEARNED, DAYS = "learned", "days"
#: Series remembered; those unseen for longest go first.
MOST = 128
_MOST_BYTES = MOST * 8192
_NAME = 512  # characters of a name or unit


class Told(msgspec.Struct, forbid_unknown_fields=True):
    """One series at one pace."""

    running: list[float]
    blend: list[list[float]]
    width: list[float]


class Known(msgspec.Struct, forbid_unknown_fields=True):
    """One series."""

    name: str
    unit: str
    wall_s: float  # when it was last seen
    fast: Told
    slow: Told


class Usually(msgspec.Struct, forbid_unknown_fields=True):
    """What is usual of series together."""

    series: list[Key]
    state: dict[str, object]

    def watch(self) -> Unusual:
        """Goes on from it; ValueError if it can't be."""
        made = Unusual(len(self.series))
        made.restore(self.state)
        return made


class Book(msgspec.Struct, forbid_unknown_fields=True):
    """All of it, but the days."""

    model: str  # digest: errors, widths and what is usual are a model's own
    step_s: float
    boot: str
    counted_ns: int  # CLOCK_MONOTONIC of that boot: rows up to it are in the statistics
    usually: Usually
    series: list[Known]


def _wall_offset_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


class Learned:
    """Of the series there are and of those that were."""

    def __init__(
        self, model: str = "", wall_offset_ns: Callable[[], int] = _wall_offset_ns
    ) -> None:
        self.days = Days()
        self._book = Book(model, 0.0, _boot(), 0, Usually([], {}), [])
        self._known: dict[Key, Known] = {}
        self._wall_offset_ns = wall_offset_ns

    def begin(self, step_s: float) -> None:
        """Telemetry of this step comes; what was learned at another says nothing of it."""
        if self._book.step_s not in (0.0, step_s):
            self._known.clear()
            self._book.counted_ns, self._book.usually = 0, Usually([], {})
        self._book.step_s = step_s

    def unusual(self, series: Sequence[Series]) -> Unusual:
        """With what is known of them together."""
        made = self._book.usually.watch()
        known = {key: i for i, key in enumerate(self._book.usually.series)}
        made.move(np.array([known.get(key, -1) for key in keys(series)], np.intp))
        return made

    def fresh(self, t_ns: NDArray[np.int64]) -> int:
        """Of the first rows that come: how many are not in the statistics yet, the newest at
        least, for a forecast is wanted of it."""
        counted, self._book.counted_ns = self._book.counted_ns, 0
        return max(int((t_ns > counted).sum()), 1) if counted <= t_ns[-1] else len(t_ns)

    def wall_s(self, t_ns: NDArray[np.int64]) -> Floats:
        """The wall clock's time at these moments, as it is set now."""
        wall_s: Floats = (t_ns + self._wall_offset_ns()).astype(np.float64) * 1e-9
        return wall_s

    def recall(
        self, series: Sequence[Series], channels: Iterable[int], scales: tuple[Scale, Scale]
    ) -> None:
        """Give the scales what is known of these channels."""
        for c in channels:
            known = self._known.get(_key(series[c]))
            for scale, told in zip(scales, (known.fast, known.slow) if known else (), strict=False):
                scale.restore(c, told.running, told.blend, told.width)

    def note(self, series: Sequence[Series], scales: tuple[Scale, Scale], unusual: Unusual) -> None:
        """Take over what they know."""
        self._book.usually = Usually(keys(series), unusual.told())
        now = time.time()
        for c, one in enumerate(series):
            fast, slow = (Told(*scale.told(c)) for scale in scales)
            self._known[_key(one)] = Known(one.name, one.unit, now, fast, slow)
        if len(self._known) > MOST:
            newest = sorted(self._known.items(), key=lambda item: item[1].wall_s)[-MOST:]
            self._known = dict(newest)

    def save(self, keep: Keep, counted_ns: int) -> None:
        """Rows up to counted_ns are in what was noted."""
        series = list(self._known.values())
        book = msgspec.structs.replace(self._book, counted_ns=counted_ns, series=series)
        keep.save(LEARNED, msgspec.json.encode(book))

    def save_days(self, keep: Keep) -> None:
        """Apart, and more seldom: they are a hundred times as large."""
        keep.save(DAYS, msgspec.msgpack.encode(self.days.stored()))

    def load(self, keep: Keep) -> None:
        """What an earlier engine saved; what can't be used is told once, and learned anew."""
        for name, most, take in (
            (LEARNED, _MOST_BYTES, self._take),
            (DAYS, MOST_BYTES, self._date),
        ):
            try:
                payload = keep.load(name, most)
                if payload is not None:
                    take(payload)
            except (Refused, ValueError) as error:
                log.warning("%s is not used, learning starts anew: %s", keep.path(name), error)

    def _date(self, payload: bytes) -> None:
        self.days.restore(msgspec.msgpack.decode(payload, type=Stored))

    def _take(self, payload: bytes) -> None:
        book = msgspec.json.decode(payload, type=Book)
        if len(book.series) > MOST or not book.step_s > 0:
            raise ValueError(f"{len(book.series)} series every {book.step_s} s")
        known = {_checked(one): one for one in book.series}
        book.usually.watch()
        if book.model != self._book.model:
            book.usually = Usually([], {})
            _, blend, width = Scale(1, 1.0).told(0)
            for one in known.values():
                for told in (one.fast, one.slow):
                    told.blend, told.width = blend, width
        if book.boot != self._book.boot:
            book.counted_ns = 0
        book.model, book.boot = self._book.model, self._book.boot
        self._book, self._known = book, known


def _checked(one: Known) -> Key:
    if len(one.name) > _NAME or len(one.unit) > _NAME:
        raise ValueError(f"a name of {len(one.name)} characters")
    for told in (one.fast, one.slow):
        Scale(1, 1.0).restore(0, told.running, told.blend, told.width)
    return one.name, one.unit


def _key(series: Series) -> Key:
    return series.name, series.unit


def keys(series: Sequence[Series]) -> list[Key]:
    """What series are known by."""
    return [_key(one) for one in series]


def _boot() -> str:
    """This boot's name: CLOCK_MONOTONIC of another says nothing here."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""

"""The same work on the same shapes again and again: recorded once as a CUDA graph, then replayed.

Owns: which shapes are worth a recording, how many are kept, the copies in and out of one.
Does not know: what is computed. The recording itself is a callable: `Cuda` below on a GPU, another
in tests. Proved on a CPU only, `Cuda` not at all: no GPU was at hand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Work = Callable[..., list[Tensor]]
#: How many recordings are kept; each holds its activations for good.
MOST = 8
#: Runs before a recording: libraries choose their kernels and take their workspaces in these.
_WARM = 3


class Recorded(NamedTuple):
    """`replay()` computes `outputs` from what lies in `inputs`; both stay where they are."""

    replay: Callable[[], object]
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


#: work, inputs -> its recording; inputs may be kept and overwritten.
Record = Callable[[Work, Sequence[Tensor]], Recorded]
Key = tuple[Any, ...]


class Repeats:
    """Runs work; from the second time on that shapes are met, by replay."""

    def __init__(self, record: Record | None = None, most: int = MOST) -> None:
        self._record, self._most = record, most
        self._kept: OrderedDict[Key, Recorded | None] = OrderedDict()  # None: can't be recorded
        self._met: OrderedDict[Key, None] = OrderedDict()

    def __call__(self, name: str, work: Work, inputs: Sequence[Tensor]) -> list[Tensor]:
        """What `work(*inputs)` gives; `name` tells one work from another. Results are the
        caller's own: the next replay doesn't touch them."""
        if self._record is None:
            return work(*inputs)
        key = (name, *((tuple(each.shape), each.dtype) for each in inputs))
        recorded = self._recording(key, work, inputs)
        if recorded is None:
            return work(*inputs)
        for mine, given in zip(recorded.inputs, inputs, strict=True):
            mine.copy_(given)
        recorded.replay()
        return [each.clone() for each in recorded.outputs]

    def clear(self) -> None:
        """Let go of every recording and its memory."""
        self._kept.clear()
        self._met.clear()

    def _recording(self, key: Key, work: Work, inputs: Sequence[Tensor]) -> Recorded | None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._met:  # once is no habit: a recording costs several runs
            self._met[key] = None
            while len(self._met) > 16 * self._most:
                self._met.popitem(last=False)
            return None
        while len(self._kept) >= self._most:
            self._kept.popitem(last=False)
        self._kept[key] = self._try(work, inputs)
        return self._kept[key]

    def _try(self, work: Work, inputs: Sequence[Tensor]) -> Recorded | None:
        """None where a recording fails: the work is then run as it is, and says itself whether
        the device is at fault."""
        assert self._record is not None
        try:
            return self._record(work, [each.clone() for each in inputs])
        except RuntimeError:
            return None


class Cuda:
    """Records on the current CUDA device; all recordings share one pool of memory.

    That is safe because a replay reads nothing but its own inputs and weights, and results are
    copied out before the next one.
    """

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, work: Work, inputs: Sequence[Tensor]) -> Recorded:
        """As `Record` says. RuntimeError: the work does something that can't be recorded."""
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM):
                work(*inputs)
        torch.cuda.current_stream().wait_stream(aside)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = work(*inputs)
        return Recorded(graph.replay, inputs, outputs)

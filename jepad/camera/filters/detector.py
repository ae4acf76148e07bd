"""A face detector in a thread of its own, given so much time and no more.

Owns: the file (regular, small, of the digest that was said), the thread, the deadline.
Does not know: what is done with faces. The only place of this room that loads onnxruntime.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jepad.camera.filters import yunet
from jepad.camera.filters.yunet import Found
from jepad.camera.shot import Square
from jepad.errors import EngineError, ModelError

Outputs = Mapping[str, npt.NDArray[Any]]
#: YuNet has 0.2 MB; a model of more is another one, and a frame's time would not do for it.
LARGEST = 64 << 20
#: A detector that takes longer has failed: frames wait for it.
SLOW_S = 0.5


#: Side of the picture that a model is tried with.
FIRST = yunet.STRIDES[-1]


class Finds(Protocol):
    """Finds faces in a view. EngineError: not this time."""

    def __call__(self, view: Square) -> Found:
        """Boxes of the view's sides."""


class Aside:
    """Runs `work` in a thread that nobody waits for longer than asked, not even at the end."""

    def __init__(self, work: Callable[[Square], Outputs]) -> None:
        self._work = work
        self._todo: SimpleQueue[Square] = SimpleQueue()
        self._done: SimpleQueue[Outputs | Exception] = SimpleQueue()
        self._busy = False
        self._started = False

    def ask(self, view: Square, within_s: float) -> Outputs:
        """EngineError if it took longer, still does, or failed."""
        if self._busy:
            self._wait(0, "the face detector is still busy with an earlier frame")
        self._start()
        self._busy = True
        self._todo.put(view)
        said = self._wait(within_s, f"the face detector took longer than {within_s:g} s")
        if isinstance(said, Exception):
            raise EngineError(f"the face detector failed: {said}") from said
        return said

    def _start(self) -> None:
        """At the first frame, not before: a thread is behind the doors that its maker is behind."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="faces", daemon=True).start()

    def _wait(self, within_s: float, otherwise: str) -> Outputs | Exception:
        try:
            said = self._done.get(within_s > 0, within_s)
        except Empty:
            raise EngineError(otherwise) from None
        self._busy = False
        return said

    def _run(self) -> None:
        while True:
            try:
                self._done.put(self._work(self._todo.get()))
            except Exception as error:  # noqa: BLE001 - told to whoever asked
                self._done.put(error)


class Detector:
    """YuNet by path and digest; `Finds`."""

    def __init__(self, work: Callable[[Square], Outputs], threshold: float) -> None:
        """EngineError if its first answer, which is waited for, is not YuNet's."""
        self._aside = Aside(work)
        self._threshold = threshold
        blank = np.zeros((FIRST, FIRST, 3), np.uint8)
        yunet.found(work(blank), FIRST, FIRST, threshold)

    def __call__(self, view: Square) -> Found:
        """As Finds says."""
        outputs = self._aside.ask(view, SLOW_S)
        return yunet.found(outputs, view.shape[0], view.shape[1], self._threshold)


def load(path: str, digest: str, threshold: float) -> Detector:
    """ModelError or EngineError with the path, whatever is wrong with the file or the model."""
    if not digest:
        raise ModelError("the face model has no SHA-256: say which file is meant")
    _check(path)
    from jepad.engine import onnx

    backend = onnx.load(path, digest)
    if backend.inputs != {yunet.INPUT}:
        raise ModelError(f"{path}: not YuNet: its inputs are {sorted(backend.inputs)}")
    try:
        return Detector(lambda view: backend.infer(yunet.feeds(view)), threshold)
    except EngineError as error:
        raise ModelError(f"{path}: {error}") from error


def _check(path: str) -> None:
    """A pipe would keep us waiting, a device fill the memory."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the face model: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= LARGEST:
        raise ModelError(f"{path}: not a face model: a file of at most {LARGEST >> 20} MB")

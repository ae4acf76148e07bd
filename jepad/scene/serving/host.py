"""The backend in force: loaded, lost, replaced.

Owns: what happens when a device goes away. Does not know: calls, sockets, which runtime it is.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from jepad.errors import DeviceLost, EngineError, JepadError, NotReady, TooLarge
from jepad.scene.backend import Backend
from jepad.scene.placement import CPU

log = logging.getLogger(__name__)

#: Between attempts to load again.
PATIENCE_S = 10.0
#: Between looks at free memory.
LOOK_S = 1.0
#: Makes a backend; told the devices that were lost, newest last, it may take another.
Load = Callable[[tuple[str, ...]], Backend]


class Host:
    """One thread uses it, but for `device`, `precision`, `gate`, `reason`, `free_bytes` and
    `beside`."""

    def __init__(self, load: Load, clock: Callable[[], float] = time.monotonic) -> None:
        """JepadError: it can't be loaded at all."""
        self._load, self._clock = load, clock
        self._lost: tuple[str, ...] = ()
        self._again = 0.0
        #: Told once a lost device was replaced: what was computed there is of another one.
        self.moved: Callable[[], object] = lambda: None
        self.reason = ""  # why it is not where it was
        self.losses = 0
        self.device = self.precision = ""
        self.gate: Mapping[str, Any] = {}
        self.free_bytes = 0
        self._looked = -math.inf
        self._backend: Backend | None = None
        self._take(load(()))

    def __call__(self, run: Callable[[Backend], Any]) -> Any:
        """What `run` makes of the backend. JepadError whatever goes wrong; after DeviceLost the
        next call has another backend, or NotReady says that there is none."""
        backend = self._present()
        try:
            self._look(backend)
            return run(backend)
        except DeviceLost as error:
            self._replace(backend, error)
            raise
        except JepadError:
            raise
        except MemoryError as error:
            raise TooLarge("out of memory over this call; smaller ones are answered") from error
        except Exception as error:
            log.exception("the model failed")
            raise EngineError(f"the model failed: {error}") from error

    def beside(self) -> Backend | None:
        """The backend for another thread, at the same time: on the CPU, whose runtime can; None
        elsewhere, and while there is none."""
        backend = self._backend
        return backend if backend is not None and backend.device == CPU else None

    def close(self) -> None:
        """Let go of the backend."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _take(self, backend: Backend) -> None:
        self._backend, self._looked = backend, -math.inf
        self.device, self.precision = backend.device, backend.precision
        self.gate = backend.gate
        self._look(backend)

    def _look(self, backend: Backend) -> None:
        now = self._clock()
        if now >= self._looked + LOOK_S:
            self._looked, self.free_bytes = now, backend.free_bytes()

    def _present(self) -> Backend:
        if self._backend is None:
            if self._clock() < self._again:
                raise NotReady(self.reason)
            self._reload()
        if self._backend is None:
            raise NotReady(self.reason)
        return self._backend

    def _replace(self, backend: Backend, error: DeviceLost) -> None:
        self.losses += 1
        self._lost = (*self._lost, backend.device)
        self.reason = f"{backend.device} was lost: {error}"
        log.error("%s", self.reason)
        backend.close()
        self._backend = None
        self._reload()

    def _reload(self) -> None:
        try:
            self._take(self._load(self._lost))
        except JepadError as error:
            self._again = self._clock() + PATIENCE_S
            self.reason = f"no device carries the model: {error}"
            log.error("%s", self.reason)
        else:
            self.moved()
            log.warning("the model is on %s now", self.device)

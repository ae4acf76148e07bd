"""Answers what is asked of the engine.

Owns: which request gets which answer, and the errors in between. Does not know sockets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jepad.engine import wire
from jepad.engine.batch import Batch, Job
from jepad.engine.foresee import Foresight
from jepad.errors import EngineError, JepadError, NotReady
from jepad.heads.baseline import baseline
from jepad.heads.forecast import Output
from jepad.heads.prepare import HORIZONS
from jepad.records import Floats

Answer = Callable[[wire.Reply], None]


class Desk:
    """Predict, Embed and Foresee wait for the batch; the rest is answered at once, by `status`."""

    def __init__(self, batch: Batch | None, status: Callable[[wire.Request], wire.Reply]) -> None:
        self._batch = batch
        self._status = status

    def take(self, request: wire.Request, answer: Answer) -> None:
        """Answers now or later, once, whatever happens."""
        try:
            if time.monotonic_ns() > request.deadline_ns:
                raise EngineError("the request came after its own deadline")
            if isinstance(request, wire.Predict):
                self._predict(request, answer)
            elif isinstance(request, wire.Embed):
                self._embed(request, answer)
            elif isinstance(request, wire.Foresee):
                self._foresee(request, answer)
            else:
                answer(self._status(request))
        except JepadError as error:
            answer(_refused(request, error))

    def _predict(self, request: wire.Predict, answer: Answer) -> None:
        values = wire.window(request.values)
        if self._batch is None:
            plain = baseline(values, request.dt_s, HORIZONS)
            answer(_predicted(request, plain, "baseline"))
            return

        def done(output: Output) -> wire.Reply:
            return _predicted(request, (output.quantiles[0], output.p_rise[0]), "model")

        self._submit(request, values, done, answer)

    def _embed(self, request: wire.Embed, answer: Answer) -> None:
        if self._batch is None:
            raise NotReady("no model is loaded, so there are no embeddings")

        def done(output: Output) -> wire.Reply:
            embedding = np.concatenate([output.z, output.z_hat[0]])
            return wire.Embedded(request.id, wire.pack(embedding))

        self._submit(request, wire.window(request.values), done, answer)

    def _foresee(self, request: wire.Foresee, answer: Answer) -> None:
        if self._batch is None:
            raise NotReady("no model is loaded, so nothing is known of what actions do")

        def done(result: wire.Foreseen | JepadError) -> None:
            answer(_refused(request, result) if isinstance(result, JepadError) else result)

        Foresight(request, self._batch, done).start()

    def _submit(
        self,
        request: wire.Predict | wire.Embed,
        values: Floats,
        reply: Callable[[Output], wire.Reply],
        answer: Answer,
    ) -> None:
        def done(result: Output | JepadError) -> None:
            if isinstance(result, JepadError):
                answer(_refused(request, result))
            else:
                answer(reply(result))

        assert self._batch is not None
        self._batch.add(Job(values, request.dt_s, request.deadline_ns, done))


def _refused(request: wire.Request, error: JepadError) -> wire.Refused:
    return wire.Refused(request.id, error.bus_name, str(error))


def _predicted(
    request: wire.Predict,
    said: tuple[NDArray[Any], NDArray[Any]],
    part: Literal["model", "baseline"],
) -> wire.Predicted:
    quantiles, p_rise = (wire.pack(a.astype(np.float32)) for a in said)
    horizons_s = tuple(request.dt_s * h for h in HORIZONS)
    return wire.Predicted(request.id, quantiles, p_rise, horizons_s, part)

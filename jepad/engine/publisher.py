"""The engine's two streams: predictions.machine and embeddings.machine.

Owns: their layout and life. Does not know how a forecast is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jepad.records import Floats32, Forecast
from jepad.ring.layout import Layout, float_bits
from jepad.ring.writer import Writer

PREDICTIONS, EMBEDDINGS = "predictions.machine", "embeddings.machine"
COLUMNS = ("p10", "p50", "p90", "p_rise", "weight")
SLOTS = 256


#: Second aux word: the age below, above it an octet a cause, its place in the series from 1.
_AGE_BITS, _CAUSES = 16, 3


def aged(age: int, causes: Sequence[int]) -> int:
    """The word that says how old, and which series surprise most."""
    octets = [place + 1 for place in causes[:_CAUSES] if place < 255]
    return min(age, (1 << _AGE_BITS) - 1) | int.from_bytes(bytes(octets), "little") << _AGE_BITS


def causes_of(word: int) -> list[int]:
    """The places it names."""
    octets = (word >> _AGE_BITS).to_bytes(8, "little")[:_CAUSES]
    return [octet - 1 for octet in octets if octet]


class Publisher:
    """Makes a stream with the first record of its shape, and anew when that changes."""

    def __init__(self, prefix: str, model_sha256: bytes = b"") -> None:
        self._prefix = prefix
        self._sha256 = model_sha256
        self._open: dict[str, tuple[object, Writer]] = {}

    def forecast(self, forecast: Forecast, age: int) -> None:
        """`age`: ticks since the model spoke; 0 = it spoke for this very sample."""
        array = np.concatenate(
            [forecast.quantiles, forecast.p_rise[..., None], forecast.weight[..., None]], axis=2
        ).astype(np.float32)
        schema: dict[str, object] = {
            "series": [
                {"name": s.name, "unit": s.unit, "semantics": s.semantics} for s in forecast.series
            ],
            "horizons_s": list(forecast.horizons_s),
            "columns": list(COLUMNS),
        }
        writer = self._writer(PREDICTIONS, array, schema)
        names = [s.name for s in forecast.series]
        places = [names.index(cause) for cause in forecast.causes]
        aux = (float_bits(forecast.surprise), aged(age, places))
        writer.publish(array, forecast.t_ns, source_n=forecast.source_n, aux=aux)

    def embedding(self, embedding: Floats32, source_n: int, t_ns: int) -> None:
        """[1+H, D], only when the model spoke."""
        writer = self._writer(EMBEDDINGS, embedding, {"rows": ["z", "z_hat"]})
        writer.publish(embedding, t_ns, source_n=source_n)

    def heartbeat(self) -> None:
        """Alive, though there may be nothing to say."""
        self._each(Writer.heartbeat)

    def retire(self) -> None:
        """Other series will follow: readers reopen."""
        self._each(Writer.retire)
        self._open.clear()

    def close(self) -> None:
        """STOPPED: no more for now; a later engine goes on in the same streams."""
        self._each(Writer.close)
        self._open.clear()

    def _writer(self, stream: str, array: Floats32, schema: dict[str, object]) -> Writer:
        shape = (array.shape, schema)
        known, writer = self._open.get(stream, (None, None))
        if writer is None or known != shape:
            if writer is not None:
                del self._open[stream]  # also when there is no room for the next one
                writer.retire()
            layout = Layout(stream, np.float32, array.shape, schema, SLOTS, self._sha256)
            writer = Writer.create(self._prefix, layout)
            self._open[stream] = (shape, writer)
        return writer

    def _each(self, act: Callable[[Writer], None]) -> None:
        for _, writer in self._open.values():
            act(writer)

"""The model card: where a model comes from, what it was measured to do, what it can't.

Owns: the card's story and figures. Does not know: how the model is trained or quantised.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from jepad.errors import SettingError
from jepad.heads.prepare import CONTEXT, HORIZONS, SHORTEST
from jepad.jepa.config import Shape
from jepad.jepa.world import Feeds
from jepad.learn import dataset, score
from jepad.learn.batches import to_feeds
from jepad.learn.corpus import OWN, OWN_SHARE, TRAIN_SHARE, Cut, held_out
from jepad.learn.export import session
from jepad.learn.traces import Trace, digest, files
from jepad.learn.windows import prepare_now
from jepad.models.store import CARD, GRAPH

#: Windows scored a held-out host.
_WINDOWS = 120
LIMITS = (
    "Trained mostly on public 1-minute and 5-minute telemetry of servers; at 1 s it has seen one "
    "host, one guest, one laptop, power meters and the gym's load on one machine. No claim at 1 s "
    "rests on the public sets alone.",
    "Held-out figures are of the same collections as the training hosts, later in time.",
    "Channels are read without names or units; it knows no causes.",
    "Effects of actions were learned in small control groups and small guests, up to 64 s ahead; "
    "of power profiles and of anything else not in the gym it knows nothing.",
    "p_rise is about the channel's own recent q97, no absolute danger.",
    f"Silent below {SHORTEST} samples of context; the season token needs a day of history.",
)


def story(
    directories: Sequence[str], traces: Sequence[Trace], cuts: Sequence[Cut]
) -> dict[str, object]:
    """What can be said before measuring."""
    held = held_out(traces)
    trained = sorted({c.key for c in cuts})
    return {
        "name": "jepad-machine",
        "what": "JEPA world model of machine telemetry: quantiles, event chances, embeddings",
        "licence": "Apache-2.0",
        "context_steps": CONTEXT,
        "horizons_steps": list(HORIZONS),
        "shape": asdict(Shape()),
        "data": {os.path.basename(p): digest(p) for d in directories for p in files(d)},
        "split": {
            "rule": "of each source's sorted hosts every fifth, from the third on, never trains; "
            f"training sees the first {TRAIN_SHARE:.0%} of each trace's time, of "
            f"{', '.join(OWN)} the first {OWN_SHARE:.0%}",
            "held_out_hosts": sorted(held),
            "trained_hosts": trained,
        },
        "limits": list(LIMITS),
    }


def example(traces: Sequence[Trace]) -> Feeds:
    """A real batch to trace and to verify the graph with."""
    for place in score.places(dataset.validation(traces), 12):
        if len(place.channels) > 1 and len(place) > 1:
            return to_feeds(prepare_now(place.windows))
    raise SettingError("no held-out host with two channels in the data to verify the model on")


def measure(directory: str, traces: Sequence[Trace]) -> dict[str, object]:
    """Score the exported graph on held-out hosts, by source, and write it into the card."""
    path = os.path.join(directory, CARD)
    with open(path, encoding="utf-8") as f:
        made: dict[str, object] = json.load(f)
    graph = session(os.path.join(directory, GRAPH), threads=2)
    where = score.places(dataset.validation(traces), _WINDOWS)
    held = held_out(traces)
    figures: dict[str, dict[str, object]] = {}
    for source in sorted({p.cut.source for p in where}):
        some = [p for p in where if p.cut.source == source]
        told = [score.tell(graph, p) for p in some]
        rows = score.forecast_figures(told, [score.calibrated(p) for p in some])
        unseen = all(p.cut.key in held for p in some)
        figures[source] = {"hosts": len(some), "unseen_hosts": unseen}
        figures[source] |= {k: _rounded(v) for k, v in rows.items()}
    made["metrics"] = {
        "horizons_steps": list(HORIZONS),
        "later_in_time": figures,
    }
    with open(f"{path}.part", "w", encoding="utf-8") as f:
        json.dump(made, f, indent=1)
        f.write("\n")
    os.replace(f"{path}.part", path)
    return made


def _rounded(row: np.ndarray[tuple[int], np.dtype[np.floating]]) -> list[float | None]:
    return [round(float(v), 4) if np.isfinite(v) else None for v in row]

"""From flags to a running engine.

Owns: what is built, in which order: the model first, for without it nothing else is worth doing.
Does not know the work itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np

from jepad import journal
from jepad.engine import onnx
from jepad.engine.server import Options, Server
from jepad.models import store

NO_MODEL = "none"


def serve(args: argparse.Namespace) -> None:
    """Until stopped; JepadError says why it could not be."""
    journal.setup("jepad-engine")
    # Anybody's numbers come in; what overflows becomes "unknown" further on, and no news.
    np.seterr(all="ignore")
    backend = None
    if args.model != NO_MODEL:
        files = store.load(args.model or None)
        backend = onnx.load(files.onnx_path, files.digest, _actions(files.card))
    options = Options(
        runtime=args.runtime,
        prefix=args.prefix,
        series=tuple(args.series),
        model_every=args.model_every,
        transient=args.transient,
        state=args.state,
    )
    Server(options, backend).run()


def _actions(card: Mapping[str, object]) -> tuple[str, ...]:
    """Kinds of actions the model was trained on; a graph that takes actions may know of none."""
    found = card.get("actions")
    return tuple(str(kind) for kind in found) if isinstance(found, list) else ()

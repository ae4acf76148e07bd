"""From flags to a running engine.

Owns: what is built, in which order: the model first, for without it nothing else is worth doing.
Does not know the work itself.
"""

from __future__ import annotations

import argparse

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
        backend = onnx.load(files.onnx_path, files.digest)
    options = Options(
        args.runtime, args.prefix, tuple(args.series), args.model_every, args.transient
    )
    Server(options, backend).run()

"""jepad-engine: the process that holds the model.

Owns: flags, exit codes, the process's own limits. Does not know what the engine does.
Exit codes: 0 stopped, 1 failed, 2 a flag or setting, 4 the model file.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from jepad import paths
from jepad.errors import JepadError
from jepad.worker import process


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; the exit code."""
    args = _parser().parse_args(argv)
    process.single_threaded()
    if args.parent and not process.tie_to(args.parent):
        return 0
    from jepad.engine.start import serve  # imports numpy

    try:
        serve(args)
    except JepadError as error:
        print(f"jepad-engine: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    places = paths.session() if os.geteuid() else paths.SYSTEM
    parser = argparse.ArgumentParser(
        prog="jepad-engine",
        description="Forecasts the telemetry of this machine with a world model.",
        epilog="exit codes: 0 stopped, 1 failed, 2 a flag or setting, 4 the model file",
    )
    add = parser.add_argument
    add("--runtime", default=places.runtime, help="directory of its socket (%(default)s)")
    add("--prefix", default=places.shm_prefix, help="of the streams (%(default)s)")
    add("--model", default="", help="a model's card (.json), or 'none' for the baseline alone")
    add(
        "--series",
        action="append",
        default=[],
        metavar="PATTERN",
        help="series to forecast, best first; may be repeated (default: built in)",
    )
    add(
        "--model-every",
        type=int,
        choices=range(17),
        default=0,
        metavar="K",
        help="run the model on every K-th sample, 1 to 16 (default: as its cost allows)",
    )
    add(
        "--state",
        default=os.environ.get("STATE_DIRECTORY", ""),
        metavar="DIR",
        help="where to keep what was learned of each series (default: nowhere, or as systemd says)",
    )
    add("--transient", action="store_true", help="remove its streams when it stops")
    add("--parent", type=int, default=0, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())

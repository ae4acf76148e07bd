"""jepad-camera: the process that decodes one camera, in a sandbox of its own.

Owns: flags, exit codes. Does not know how a frame is made.
Exit codes: 0 stopped, 1 failed, 2 a flag or setting.
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
    from jepad.camera.start import serve  # imports numpy and PyAV

    try:
        serve(args)
    except JepadError as error:
        print(f"jepad-camera: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    places = paths.session() if os.geteuid() else paths.SYSTEM
    parser = argparse.ArgumentParser(
        prog="jepad-camera",
        description="Decodes one camera or film and shares its frames, small, as a stream.",
        epilog="exit codes: 0 stopped, 1 failed, 2 a flag or setting",
    )
    add = parser.add_argument
    add("--name", required=True, help="of the camera: a-z, 0-9 and _")
    add("--runtime", default=places.runtime, help="directory of its socket (%(default)s)")
    add("--prefix", default=places.shm_prefix, help="of the streams (%(default)s)")
    add("--settings", default="", metavar="FILE",
        help="its settings in JSON, of mode 0600; - is standard input (camera-NAME.json in the"
        " runtime directory)")  # fmt: skip
    add("--parent", type=int, default=0, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())

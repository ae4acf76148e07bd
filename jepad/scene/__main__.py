"""jepad-scene: the process that holds the video world model, one a device.

Owns: flags, exit codes, the process's own limits. Does not know what the engine does.
Exit codes: 0 stopped, 1 failed, 2 a flag or setting, 4 the model's files, 5 too little memory.
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
    from jepad.scene.start import serve  # imports numpy and onnxruntime

    try:
        serve(args)
    except JepadError as error:
        print(f"jepad-scene: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    places = paths.session() if os.geteuid() else paths.SYSTEM
    parser = argparse.ArgumentParser(
        prog="jepad-scene",
        description="Keeps a video world model (V-JEPA 2) resident and answers from it.",
        epilog="exit codes: 0 stopped, 1 failed, 2 a flag or setting, 4 the model's files, "
        "5 too little memory",
    )
    add = parser.add_argument
    add("--runtime", default=places.runtime, help="directory of its socket (%(default)s)")
    add("--name", default="", help="of its socket (default: scene)")
    add("--prefix", default=places.shm_prefix, help="of the streams (%(default)s)")
    add("--state", default=places.state, help="directory with the library (%(default)s)")
    add("--model", required=True, help="name of an installed model, or its directory")
    add("--device", default="auto", help="cpu, cuda:0, ... or auto: most free memory (%(default)s)")
    add("--precision", default="", help="int8, fp32 (CPU), bf16, int8, fp8 (GPU); default: its own")
    add("--threads", type=int, choices=range(1, 257), default=1, metavar="N",
        help="of the CPU (%(default)s)")  # fmt: skip
    add("--memory-max", type=int, default=0, metavar="BYTES",
        help="refuse a model that needs more (default: what the device has)")  # fmt: skip
    add("--parent", type=int, default=0, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())

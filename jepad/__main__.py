"""The `jepad` command: parse, load settings, run the daemon, turn errors into exit codes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import sys
from importlib.metadata import version

from jepad.cli.suggest import did_you_mean
from jepad.errors import JepadError

_EPILOG = """examples:
  jepad --session                       forecast this machine, no root needed
  jepad --session --seconds 30 --json   the same for scripts: one JSON object after 30 s
  jepad --replay trace.csv.gz --once    forecast from a recorded trace, then exit

exit codes: 0 done, 1 failed, 2 usage or settings, 3 the bus or our name on it is not to be had
"""
#: What ends a write to a file that was open: its reader left, no room, no device.
_UNWRITTEN = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def parser() -> argparse.ArgumentParser:
    """The command line of the daemon."""
    out = argparse.ArgumentParser(
        prog="jepad",
        description="A world model of this machine: watches telemetry, publishes forecasts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument("--version", action="version", version=f"jepad {version('jepad')}")
    out.add_argument("--session", action="store_true", help="run for this user, on the session bus")
    out.add_argument("--config", metavar="FILE", help="settings, see jepad.toml(5)")
    out.add_argument("--seconds", type=_positive, metavar="N", help="stop after N seconds")
    out.add_argument("--json", action="store_true", help="at the end print one JSON object")
    out.add_argument("--replay", metavar="FILE", help="a recorded trace instead of this machine")
    out.add_argument("--trace", metavar="NAME", help="which trace, if the file holds several")
    out.add_argument("--once", action="store_true", help="with --replay: one forecast from its end")
    out.add_argument(
        "--engine",
        choices=("child", "none"),
        default="child",
        help="start the engine as a child (default), or leave it to its own unit",
    )
    return out


def main() -> int:
    """Entry point; the message of an error goes to stderr, with nothing else."""
    try:
        try:
            return _run()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _UNWRITTEN or error.filename:
            raise
        # The interpreter's own flush at exit must not complain as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):  # whoever read us is done, and knows it
            sys.stderr.write(f"jepad: can't write: {error.strerror}\n")
        return 1


def _run() -> int:
    args = _arguments()
    try:
        from jepad import daemon

        return asyncio.run(daemon.run(args))
    except JepadError as error:
        sys.stderr.write(f"jepad: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    options = parser()
    args, unknown = options.parse_known_args()
    if unknown:
        flags = [flag for action in options._actions for flag in action.option_strings]
        options.error(f"no flag {unknown[0]!r}{did_you_mean(unknown[0], flags)}")
    if (args.once or args.trace) and not args.replay:
        options.error("--once and --trace need --replay FILE")
    return args


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < 1e9:  # false for nan and inf as well
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")


if __name__ == "__main__":
    sys.exit(main())

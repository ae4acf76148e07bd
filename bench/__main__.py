"""`python -m bench NAME [--quick] [--data DIR] [--json]`: one measurement beside its goals."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path

from bench.report import Options, Report
from jepad.errors import JepadError, SettingError

NAMES = {
    "footprint": "memory and CPU of daemon and engine at 1 Hz, and of one snapshot",
    "cli": "start-up of jepactl beside python3",
    "bus": "Predict over the bus, and a pipelined burst",
    "ring": "the shared-memory ring beside memcpy, sockets and ZeroMQ",
    "machine": "forecasts, events and anomalies beside classical and boosted-tree baselines",
    "stall": "warning of memory stalls beside the rules of earlyoom, systemd-oomd and others",
    "action": "predicted effects of actions beside what happened in held-out episodes",
    "thermal": "temperature and throttling of unseen boards beside boosted trees",
    "power": "wall power at 1 Hz beside boosted trees",
    "scene": "the video world model on the CPU: int8 beside fp32 and torch, and its planner",
    "camera": "what a camera costs: decoding, the motion gate, a frame to its embedding",
    "watch": "scene scores on labelled video and the fight probe, beside a random network",
    "gpu": "the video world model on a GPU beside transformers and the GPU's own ceiling",
    "privacy": "faces that the camera's filters hide, and what they hide for nothing",
    "conformance": "V-JEPA 2 beside Meta's and transformers' numbers, array by array",
}
#: Nothing to be proud of in part: a missed goal is exit 1.
STRICT = {"conformance"}
_HOPPED = "JEPAD_BENCH_HOPPED"  # set once: a second try would be an endless one
#: What the dev environment has and a bare Python has not.
NEEDED = ("numpy", "dbus_fast", "onnxruntime", "lightgbm")


def parser() -> argparse.ArgumentParser:
    """The command line; the epilog lists the benches."""
    lines = "\n".join(f"  {name:10} {what}" for name, what in NAMES.items())
    out = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="benches:\n" + lines,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument("name", choices=list(NAMES))
    out.add_argument("--quick", action="store_true", help="end within 45 s")
    out.add_argument("--data", metavar="DIR", help="directory with the public data sets")
    out.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    return out


def main() -> int:
    """Run one bench; exit 0 when it ran, whether or not its goals were met (STRICT: if met)."""
    args = parser().parse_args()
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        return _elsewhere(absent[0])
    module = importlib.import_module(f"bench.{args.name}")
    try:
        if args.data and not os.path.isdir(args.data):
            raise SettingError(f"{args.data}: no such directory; --data names one with data sets")
        report: Report = module.run(Options(quick=args.quick, data=args.data))
    except JepadError as error:
        sys.stderr.write(f"bench {args.name}: {error}\n")
        return error.exit_code
    if args.json:
        json.dump(report.to_json(args.name), sys.stdout, allow_nan=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(report.to_text(args.name))
    missed = any(goal.met is False for goal in report.goals)
    return 1 if missed and args.name in STRICT else 0


def _elsewhere(missing: str) -> int:
    """Go on in the checkout's own environment, or say how to make it."""
    own = Path(__file__).parents[1] / ".venv"
    python = str(own / "bin/python")
    if os.path.exists(python) and not os.environ.get(_HOPPED):
        os.environ[_HOPPED] = "1"
        os.execv(python, [python, "-m", "bench", *sys.argv[1:]])  # noqa: S606
    sys.stderr.write(f"bench: {missing} is not installed. Run `make test` once, then try again\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

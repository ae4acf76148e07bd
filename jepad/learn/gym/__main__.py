"""`python -m jepad.learn.gym`: record sessions until the time is up, and go on where it stopped.

Owns: the command line, the order of seeds, the progress bar, ending on a signal.
Does not know: how a floor runs a session.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from jepad.errors import JepadError
from jepad.learn.gym import branch, native
from jepad.learn.gym.episodes import Episode, read_manifest, trace_path

_WHAT = (
    "Record telemetry of real kernels under real load: sessions with actions, and their twins "
    "without. What is recorded is left; run it again to go on."
)
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Record, or list what is recorded; the exit code."""
    options = _options()
    for number in _STOPS:
        signal.signal(number, _stop)
    try:
        if options.list:
            print(listing(options.out))
        else:
            record(options)
    except JepadError as error:
        print(f"gym: {error}", file=sys.stderr)
        return error.exit_code
    except (OSError, subprocess.SubprocessError) as error:
        print(f"gym: {_told(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ngym: stopped; run it again to go on", file=sys.stderr)
        return 130
    return 0


def _told(error: Exception) -> str:
    """The error, and the last words of the program it is about."""
    said = getattr(error, "stderr", None) or b""
    words = (said if isinstance(said, str) else said.decode(errors="replace")).strip()
    return f"{error}: {words[-400:]}" if words else str(error)


def _stop(*_: object) -> None:
    # Once is enough: a second one would cut the cleaning up short.
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jepad.learn.gym", description=_WHAT)
    parser.add_argument("--out", default="data/gym", help="directory of the traces")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no session after")
    parser.add_argument("--floor", choices=(*_FLOORS, "all"), default="native")
    parser.add_argument("--seed", type=int, default=0, help="first seed; those recorded are left")
    parser.add_argument("--list", action="store_true", help="what is recorded")
    return parser.parse_args()


def record(options: argparse.Namespace) -> None:
    """Each floor for its share of the time."""
    floors = [f for f in _FLOORS if options.floor in (f, "all")]
    for floor in floors:
        _FLOORS[floor](options.out, options.minutes / len(floors), options.seed)


def _native(out: str, minutes: float, seed: int) -> None:
    """Sessions of one seed after the other, none begun that would pass the time."""
    end = time.monotonic() + minutes * 60
    with native.opened(out) as gym:
        for number in itertools.count(seed):
            for take in gym.wanted(number):
                if time.monotonic() + take.plan.seconds > end:
                    return
                _one(gym, take)


def _guest(out: str, minutes: float, seed: int) -> None:
    """Guests for so many minutes; the bar moves with each of their lines."""
    began = time.monotonic()
    form = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} min"
    with tqdm(total=minutes, desc="guests", bar_format=form, mininterval=1.0, disable=None) as bar:

        def told(line: str) -> None:
            tqdm.write(line)
            _move(bar, min((time.monotonic() - began) / 60, minutes))

        branch.run(Path(out), minutes, seed, told)


_FLOORS = {"native": _native, "guest": _guest}


def _one(gym: native.Gym, take: native.Take) -> None:
    seconds = take.plan.seconds
    form = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{remaining} left]"
    with tqdm(total=seconds, desc=take.id, bar_format=form, mininterval=1.0, disable=None) as bar:
        episode = gym.record(take, lambda t: _move(bar, min(t, seconds)))
    tqdm.write(_line(gym.out, episode))


def _move(bar: tqdm, t: float) -> None:
    bar.update(t - bar.n)


def listing(out: str) -> str:
    """One line an episode, and the sum."""
    episodes = read_manifest(out)
    size = sum(os.path.getsize(trace_path(out, e)) for e in episodes)
    acted = sum(len(e.actions) for e in episodes)
    hours = sum(e.seconds for e in episodes) / 3600
    lines = [_line(out, e) for e in episodes]
    return "\n".join(
        [*lines, f"{len(episodes)} episodes, {hours:.1f} h, {acted} actions, {size / 1e6:.1f} MB"]
    )


def _line(out: str, episode: Episode) -> str:
    size = os.path.getsize(trace_path(out, episode)) / 1000
    units = ",".join(episode.units.values())
    done = ",".join(f"{a.kind}@{a.t:.0f}" for a in episode.actions if not a.undo) or "-"
    stall = episode.labels.get("psi_memory_max", 0.0)
    return (
        f"{episode.id:18} {episode.split:5} {episode.hz:2.0f} Hz {episode.seconds:4.0f} s "
        f"{size:4.0f} kB  {units}  {done}  psi {stall:.0f} %"
    )


if __name__ == "__main__":
    sys.exit(main())

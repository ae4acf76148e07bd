"""jepad-camera-unit: the camera's process as systemd starts it, and the question whether it may.

Owns: from an instance to the consent a person gave; without one nothing is opened. Does not know:
how the camera works. Exit codes: as of the camera's process; with --check 0 allowed, 1 not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from jepad import config, paths
from jepad.camera import wanted
from jepad.errors import JepadError, NotReady
from jepad.guard.consent import Camera, Consent
from jepad.guard.plugged import device


def main(argv: Sequence[str] | None = None) -> int:
    """Become the camera's process, or say why not."""
    args = _parser().parse_args(argv)
    try:
        camera, source = allowed(args, paths.Roots())
        if not args.check:
            settings = config.load(config.redirected(paths.SYSTEM.config))
            path = wanted.path_of(args.runtime, camera.name)
            wanted.write(path, wanted.settings_of(camera, source, settings, args.state))
            _become(["--name", camera.name, "--runtime", args.runtime, "--prefix", args.prefix])
    except JepadError as error:
        print(f"jepad-camera-unit: {error}", file=sys.stderr)
        return 1 if args.check else error.exit_code
    return 0


def _become(flags: Sequence[str]) -> NoReturn:
    """Of the same process number, which systemd watches."""
    os.execv(sys.executable, [sys.executable, "-m", "jepad.camera", *flags])  # noqa: S606


def allowed(args: argparse.Namespace, roots: paths.Roots) -> tuple[Camera, str]:
    """The camera and where its pictures come from; NotReady: nobody allowed it."""
    consent = Consent(args.state)
    if args.name:
        camera = consent.get(args.name)
        if camera.allowed and not camera.identity.startswith("v4l2:"):
            return camera, camera.source
        raise NotReady(f"camera {args.name} is not allowed. See: jepactl camera list")
    found = device(roots, args.node)
    known = consent.allowed(found.identity) if found else None
    if found is None or known is None:
        raise NotReady(f"nobody allowed the camera at /dev/{args.node}. See: jepactl camera list")
    return known, f"/dev/{found.node}"


def _parser() -> argparse.ArgumentParser:
    places = paths.SYSTEM
    parser = argparse.ArgumentParser(
        prog="jepad-camera-unit",
        description="Starts the process of a camera that a person allowed.",
        epilog="exit codes: 0 stopped, 1 failed, 2 a setting; with --check: 0 allowed, 1 not",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--node", default="", help="device of the camera, such as video0")
    which.add_argument("--name", default="", help="of a camera that is no device")
    add = parser.add_argument
    add("--check", action="store_true", help="only say whether it is allowed")
    add("--state", default=places.state, help="directory with the consent (%(default)s)")
    add("--runtime", default=places.runtime, help="directory of its socket (%(default)s)")
    add("--prefix", default=places.shm_prefix, help="of the streams (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The runtime directory: whoever could replace a socket in it could be us.

Owns: its making and that check. Does not know: what is kept there.
"""

from __future__ import annotations

import os
import stat

from jepad.errors import SettingError


def shared(path: str) -> None:
    """The system service's: systemd makes it and gives it to user jepad."""
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"{path}: {error.strerror}. Start the service: systemctl start jepad;"
            " or run for yourself: jepad --session"
        ) from error


def own(path: str) -> None:
    """Make `path` and what is missing above it, 0700; SettingError if it is not ours alone."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.lstat(path)
    except OSError as error:
        raise SettingError(
            f"{path}: {error.strerror}. Set XDG_RUNTIME_DIR to a directory of yours"
        ) from error
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise SettingError(
            f"{path} belongs to somebody else. Set XDG_RUNTIME_DIR to a directory of yours"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(path, 0o700)

"""Where pictures may come from, as a person writes it: a file, a device, a camera on the network.

Owns: the kinds there are, what of each is refused, which name and identity it gets, what is shown.
Does not know: who may add one, whether it is there. Opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from jepad.errors import SettingError

Kind = Literal["file", "device", "url", "made"]

#: An element of an object path takes no '-' and no '.'.
NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,30}")
SCHEMES = ("rtsp", "rtsps", "http", "https")
MAX_SPEC = 2048
_DEVICE = re.compile(r"/dev/video[0-9]{1,3}")
_LONGEST_SLUG = 24


@dataclass(frozen=True, slots=True)
class Feed:
    """A source that may be asked for; `identity` is "" where only the device itself can tell."""

    kind: Kind
    source: str
    identity: str
    slug: str  # what a name is made of

    @property
    def harmless(self) -> bool:
        """Nobody is in front of it: a recording that was named, or a picture that is computed."""
        return self.kind in ("file", "made")


def feed(spec: str) -> Feed:
    """What is meant by a spec; SettingError says what may be."""
    if len(spec) > MAX_SPEC or not spec.isprintable():
        raise SettingError(f"a source has at most {MAX_SPEC} printable characters")
    scheme, _, rest = spec.partition(":")
    if scheme == "file":
        return _file(spec, rest)
    if scheme == "lavfi" and rest:
        return Feed("made", spec, spec, rest.partition("=")[0])
    if _DEVICE.fullmatch(spec):
        return Feed("device", spec, "", spec.removeprefix("/dev/"))
    if scheme in SCHEMES:
        return _url(spec)
    raise SettingError(
        f"source {shown(spec)[:80]!r}: use file:/PATH, /dev/videoN, rtsp://, rtsps://, http:// or"
        " https:// and a host, or lavfi:GRAPH"
    )


def shown(source: str) -> str:
    """The source without a password, for everybody's eyes; nor a query, which may hold one."""
    scheme, _, rest = source.partition("://")
    if scheme not in SCHEMES:
        return source
    address, mark, _ = rest.partition("?")
    authority, slash, path = address.partition("/")
    port = authority.rpartition(":")[2]
    if "@" not in authority and "@" in path and not port.isdigit():  # a password with a slash in it
        authority, slash, path = address, "", ""
    user, at, host = authority.rpartition("@")
    if at:
        authority = f"{user.partition(':')[0]}:***@{host}" if ":" in user else f"***@{host}"
    return f"{scheme}://{authority}{slash}{path}" + ("?***" if mark else "")


def name(text: str) -> str:
    """A camera's name; SettingError when it can't be one."""
    if not NAME.fullmatch(text):
        raise SettingError(
            f"camera {text[:40]!r}: a name has 1 to 31 of a-z, 0-9 and _, no _ in front"
        )
    return text


def free_name(slug: str, taken: Collection[str]) -> str:
    """A name like the slug that nothing else has."""
    plain = re.sub(r"[^a-z0-9]+", "_", slug.lower()).strip("_")[:_LONGEST_SLUG].rstrip("_")
    base = plain or "camera"
    names = [base, *(f"{base}_{i}" for i in range(2, len(taken) + 3))]
    return next(n for n in names if n not in taken)


def _file(spec: str, path: str) -> Feed:
    parts = path.split("/")
    if not path.startswith("/") or ".." in parts or not parts[-1]:
        raise SettingError(f"source {spec[:80]!r}: name the file from the root, without '..'")
    return Feed("file", spec, spec, parts[-1].rpartition(".")[0] or parts[-1])


def _url(spec: str) -> Feed:
    try:
        parts = urlsplit(spec)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingError(f"source {shown(spec)[:80]!r}: {error}") from error
    if not host or " " in spec:
        raise SettingError(f"source {shown(spec)[:80]!r}: a URL has a host and no spaces")
    return Feed("url", spec, spec, host)

"""Plain values to D-Bus variants and back.

Owns: which D-Bus type a Python value gets. Does not know: what the values mean.
"""

from __future__ import annotations

from collections.abc import Mapping

from jepad.bus.seam import Variant

_SCALARS: tuple[tuple[type, str], ...] = ((bool, "b"), (int, "x"), (float, "d"), (str, "s"))
_NO_SIGNATURES: Mapping[str, str] = {}


def wrap(value: object, signature: str = "") -> Variant:
    """A variant of a value; its type is `signature`, else that of the value."""
    if signature:
        return Variant(signature, value)
    if isinstance(value, str):
        return Variant("s", clean(value))
    if isinstance(value, Mapping):
        return Variant("a{sv}", wrap_all(value))
    if isinstance(value, list | tuple):
        return _wrap_list(list(value))
    for kind, scalar in _SCALARS:
        if isinstance(value, kind):
            return Variant(scalar, value)
    raise TypeError(f"no D-Bus type for a {type(value).__name__}")


def wrap_all(
    values: Mapping[str, object], signatures: Mapping[str, str] = _NO_SIGNATURES
) -> dict[str, Variant]:
    """An a{sv}; None is left out. `signatures` fixes the types that callers rely on."""
    return {
        key: wrap(value, signatures.get(key, ""))
        for key, value in values.items()
        if value is not None
    }


def clean(text: str) -> str:
    """What the bus takes as a string: names of files and cgroups may hold any byte."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def unwrap(value: object) -> object:
    """The plain value inside variants, however deep."""
    if isinstance(value, Variant):
        return unwrap(value.value)
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unwrap(item) for item in value]
    return value


def plain(values: Mapping[str, Variant]) -> dict[str, object]:
    """The plain values of an a{sv}."""
    return {key: unwrap(value) for key, value in values.items()}


def _wrap_list(values: list[object]) -> Variant:
    if all(isinstance(v, Mapping) for v in values) and values:
        return Variant("aa{sv}", [wrap_all(v) for v in values if isinstance(v, Mapping)])
    for kind, scalar in _SCALARS:
        if all(isinstance(v, kind) for v in values) and values:
            return Variant("a" + scalar, values)
    return Variant("av", [wrap(v) for v in values])

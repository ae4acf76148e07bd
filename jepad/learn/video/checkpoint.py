"""A published checkpoint, opened without executing or copying anything: Meta's or Hugging Face's.

Owns: the two file formats, what is wrong with a file in words, tensors under Meta's names.
Does not know: what the model's shape is, nor where the tensors go.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from jepad.errors import ModelError
from jepad.learn.video import keys

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
CONFIG = "config.json"


class Checkpoint(Protocol):
    """Tensors of one file under Meta's names, part by part."""

    path: str
    scheme: str
    key: str  # which entry of a pickle is the encoder
    files: tuple[str, ...]  # everything that is read, for their hashes

    def parts(self) -> tuple[str, ...]:
        """Which of encoder, predictor, action, probe it holds."""
        ...

    def shape(self, part: str, key: str) -> tuple[int, ...]:
        """Of a tensor; ModelError if it is not there."""
        ...

    def get(self, part: str, key: str) -> Tensor:
        """The tensor itself, read now."""
        ...

    def has(self, part: str, key: str) -> bool:
        """Whether it is there."""
        ...

    def unread(self, used: Mapping[str, Iterable[str]]) -> list[str]:
        """Names that `used` (part to its keys) leaves over and that may not be left."""
        ...


def open_checkpoint(path: str, key: str | None = None) -> Checkpoint:
    """A file or a Hugging Face directory; `key`: which entry of a pickle is the encoder.

    ModelError says what the file is instead: truncated, not a checkpoint, a pickle with code in it.
    """
    if os.path.isdir(path):
        return HuggingFace(path, _shards(path))
    if not os.path.isfile(path):
        what = "is no file" if os.path.exists(path) else "no such file"
        raise ModelError(f"{path}: {what}; give a checkpoint, or Hugging Face's directory")
    with open(path, "rb") as f:
        start = f.read(16)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return Meta(path, key)
    if start[8:9] == b"{":
        return HuggingFace(path, (path,))
    if not start.strip(b"\0"):
        raise ModelError(f"{path}: is empty or holds only zeros; download it again")
    raise ModelError(
        f"{path}: is no checkpoint (neither a PyTorch pickle nor safetensors); "
        "give Meta's .pt or Hugging Face's model.safetensors"
    )


def config_beside(checkpoint: Checkpoint) -> dict[str, Any]:
    """Hugging Face's config.json next to the weights; empty where there is none."""
    directory = checkpoint.path if os.path.isdir(checkpoint.path) else os.path.dirname(
        os.path.abspath(checkpoint.path)
    )  # fmt: skip
    path = os.path.join(directory, CONFIG)
    if checkpoint.scheme != "hf" or not os.path.exists(path):
        return {}
    return read_json(path)


class Meta:
    """Meta's pickle: a dict of state dicts beside the state of its training."""

    scheme = "meta"

    def __init__(self, path: str, key: str | None) -> None:
        self.path = path
        self.files: tuple[str, ...] = (path,)
        whole = _unpickled(path)
        self._parts: dict[str, dict[str, Tensor]] = {}
        if keys.PROBES in whole:
            raise ModelError(
                f"{path}: holds a probe, which reads an encoder's tokens and is no model by "
                "itself: import it with --probe-of MODEL"
            )
        strange = [k for k in whole if k not in keys.TRAINING | keys.COPIES | {"predictor"}]
        if strange:
            raise ModelError(
                f"{path}: entry {strange[0]!r} is none of V-JEPA 2's; nothing imported"
            )
        self.version = _version(whole)
        self.key = _encoder_entry(path, whole, key, self.version)
        self._parts["encoder"] = _state(path, self.key, whole[self.key])
        if "predictor" in whole:
            part = "action" if self.version == "2-ac" else "predictor"
            self._parts[part] = _state(path, "predictor", whole["predictor"])

    def parts(self) -> tuple[str, ...]:
        """As the protocol says."""
        return tuple(self._parts)

    def has(self, part: str, key: str) -> bool:
        """As the protocol says."""
        return key in self._parts.get(part, {})

    def shape(self, part: str, key: str) -> tuple[int, ...]:
        """As the protocol says."""
        return tuple(self._tensor(part, key).shape)

    def get(self, part: str, key: str) -> Tensor:
        """As the protocol says."""
        return self._tensor(part, key)

    def unread(self, used: Mapping[str, Iterable[str]]) -> list[str]:
        """As the protocol says."""
        return sorted(
            f"{part}.{key}"
            for part, state in self._parts.items()
            for key in set(state) - set(used.get(part, ())) - keys.UNUSED[part]
        )

    def _tensor(self, part: str, key: str) -> Tensor:
        try:
            return self._parts[part][key]
        except KeyError:
            raise _missing(self.path, f"{part}'s {key}") from None


class MetaProbe(Meta):
    """Meta's pickle of attentive probes: a list of classifiers that were trained side by side."""

    def __init__(self, path: str, key: str | None) -> None:
        """`key`: the number of the classifier; may be left out where there is one."""
        self.path, self.version = path, ""
        self.files = (path,)
        whole = _unpickled(path)
        strange = [k for k in whole if k not in keys.TRAINING | {keys.PROBES}]
        found = whole.get(keys.PROBES)
        if strange or not isinstance(found, list) or not found:
            what = f"entry {strange[0]!r}" if strange else f"no list {keys.PROBES!r}"
            raise ModelError(f"{path}: is no probe of V-JEPA 2: has {what}; nothing imported")
        self.key = key or "0"
        if not self.key.isdecimal() or int(self.key) >= len(found) or (not key and len(found) > 1):
            raise ModelError(
                f"{path}: holds {len(found)} classifiers: choose one with --key 0 to "
                f"{len(found) - 1}; which one is best, its publisher says"
            )
        self._parts = {"probe": _state(path, keys.PROBES, found[int(self.key)])}


class HuggingFace:
    """Safetensors, one file or shards."""

    scheme, key = "hf", "model"

    def __init__(self, path: str, files: tuple[str, ...]) -> None:
        self.path, self.files = path, files
        self._where: dict[str, Any] = {}  # plain name to (file, name there)
        for file in files:
            opened = _safe(file)
            for name in opened.keys():  # noqa: SIM118 - no mapping
                if keys.base(name) in self._where:
                    raise ModelError(f"{file}: tensor {keys.base(name)} is there twice")
                self._where[keys.base(name)] = (opened, name)

    def parts(self) -> tuple[str, ...]:
        """As the protocol says."""
        return tuple(p for p, mark in keys.MARKS.items() if mark in self._where)

    def has(self, part: str, key: str) -> bool:
        """As the protocol says."""
        pieces = keys.pieces(part, key)
        return bool(pieces) and all(p.key in self._where for p in pieces)

    def shape(self, part: str, key: str) -> tuple[int, ...]:
        """As the protocol says."""
        pieces = self._pieces(part, key)
        shapes = [tuple(self._slice(p.key).get_shape()) for p in pieces]
        row = pieces[0].row
        if row is not None:
            if row >= shapes[0][0]:
                raise _missing(self.path, f"{part}'s {key}")
            return shapes[0][1:]
        return (sum(s[0] for s in shapes), *shapes[0][1:])

    def get(self, part: str, key: str) -> Tensor:
        """As the protocol says."""
        read = []
        for piece in self._pieces(part, key):
            found = self._slice(piece.key)
            read.append(found[:] if piece.row is None else found[piece.row : piece.row + 1][0])
        return read[0] if len(read) == 1 else torch.cat(read)

    def unread(self, used: Mapping[str, Iterable[str]]) -> list[str]:
        """As the protocol says, and mask tokens of a stack that are not among the keys."""
        read = [p for part, names in used.items() for key in names for p in keys.pieces(part, key)]
        whole = {piece.key for piece in read}
        rows = {p.key: max(q.row or 0 for q in read if q.key == p.key) + 1
                for p in read if p.row is not None}  # fmt: skip
        over = [f"{key} from row {n}" for key, n in rows.items() if self._rows(key) > n]
        return sorted(set(self._where) - whole) + over

    def _rows(self, key: str) -> int:
        return int(self._slice(key).get_shape()[0])

    def _pieces(self, part: str, key: str) -> tuple[keys.Piece, ...]:
        pieces = keys.pieces(part, key)
        if not pieces:
            raise _missing(self.path, f"{part}'s {key}")
        return pieces

    def _slice(self, key: str) -> Any:
        if key not in self._where:
            raise _missing(self.path, key)
        opened, name = self._where[key]
        return opened.get_slice(name)


def _missing(path: str, what: str) -> ModelError:
    return ModelError(f"{path}: tensor {what} is missing; the file is no whole V-JEPA 2")


#: What reading hostile bytes may raise, torch's own reader included.
_GARBLED = (
    RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, AssertionError,
    ArithmeticError, OSError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _unpickled(path: str) -> Mapping[str, Any]:
    """Tensors and plain containers of a pickle, mapped, never its code."""
    try:
        zipped = _zipped(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles it may not know; an error says it better
            whole = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as e:
        raise _refused(path, str(e)) from e
    except _GARBLED as e:
        raise ModelError(f"{path}: is damaged or truncated ({_first(e)}); download it again") from e
    if not isinstance(whole, dict) or not all(isinstance(k, str) for k in whole):
        raise ModelError(f"{path}: holds a {type(whole).__name__}, no dict of state dicts")
    return whole


def _zipped(path: str) -> bool:
    """Whether it is a pickle in a zip, as of the last years, and then an undamaged one."""
    with open(path, "rb") as f:
        if f.read(2) != b"PK":
            return False
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: is truncated (its end is missing); download it again")
    _intact(path)
    return True


def _intact(path: str) -> None:
    """torch reads past flipped bits; the checksums are zip's."""
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad is not None:
        raise ModelError(f"{path}: is damaged ({bad} fails its checksum); download it again")


def _refused(path: str, words: str) -> ModelError:
    found = re.search(r"(?:GLOBAL|global|Unsupported class|operand)\s+([\w.]+\.\w+)", words)
    if found or "Unsupported" in words:
        what = found[1] if found else words.splitlines()[0]
        return ModelError(
            f"{path}: the pickle asks for code ({what}), which is never run; "
            "no checkpoint of V-JEPA 2 needs any: get it from its publisher"
        )
    if "weights_only" in words:  # torch goes on to advise what must never be done
        words = "it asks for more than plain tensors"
    return ModelError(f"{path}: is damaged or no checkpoint ({_first(words)}); download it again")


def _first(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _version(whole: Mapping[str, Any]) -> str:
    names = {keys.plain(k) for part in whole.values() if isinstance(part, dict) for k in part
             if isinstance(k, str)}  # fmt: skip
    if "action_encoder.weight" in names:
        return "2-ac"
    return "2.1" if "patch_embed_img.proj.weight" in names else "2.0"


def _encoder_entry(path: str, whole: Mapping[str, Any], key: str | None, version: str) -> str:
    choices = (key,) if key else keys.ENCODERS[version]
    for choice in choices:
        if choice in whole and choice in keys.COPIES:
            return choice
    have = ", ".join(sorted(k for k in whole if k in keys.COPIES)) or "none"
    raise ModelError(f"{path}: has no encoder {' or '.join(choices)} (has: {have})")


def _state(path: str, entry: str, state: object) -> dict[str, Tensor]:
    if not isinstance(state, dict):
        raise ModelError(f"{path}: entry {entry!r} is no state dict")
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ModelError(f"{path}: {entry}'s {name!r} is no tensor")
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise ModelError(f"{path}: {entry}'s {name!r} holds no plain numbers")
        if keys.plain(name) in out:
            raise ModelError(f"{path}: {entry} holds {keys.plain(name)} twice")
        out[keys.plain(name)] = tensor
    return out


def _safe(path: str) -> Any:
    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError) as e:
        raise ModelError(f"{path}: is damaged or truncated ({_first(e)}); download it again") from e


def _shards(directory: str) -> tuple[str, ...]:
    single, index = (os.path.join(directory, name) for name in (SINGLE, INDEX))
    if os.path.exists(single):
        return (single,)
    if not os.path.exists(index):
        raise ModelError(f"{directory}: holds neither {SINGLE} nor {INDEX}")
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ModelError(f"{index}: names no shards")
    names = sorted({str(name) for name in table.values()})
    strays = [n for n in names if os.path.basename(n) != n]
    if strays:
        raise ModelError(f"{index}: shard {strays[0]!r} leaves its directory")
    absent = [n for n in names if not os.path.exists(os.path.join(directory, n))]
    if absent:
        raise ModelError(f"{directory}: shard {absent[0]} is missing; download it too")
    return tuple(os.path.join(directory, n) for n in names)


def read_json(path: str) -> dict[str, Any]:
    """A JSON object; ModelError if the file is none."""
    try:
        with open(path, encoding="utf-8") as f:
            found = json.load(f)
    except (OSError, ValueError) as e:
        raise ModelError(f"{path}: can't be read as JSON ({_first(e)})") from e
    if not isinstance(found, dict):
        raise ModelError(f"{path}: is no JSON object")
    return found

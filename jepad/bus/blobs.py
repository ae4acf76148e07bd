"""Arrays and texts that travel as file descriptors.

Owns: distrust of a descriptor that a caller hands us, and sealed ones of ours.
Does not know: what the arrays mean.
"""

from __future__ import annotations

import ast
import fcntl
import math
import os
import stat
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepad.errors import SettingError
from jepad.guard import validation
from jepad.records import Floats, Floats32

MAGIC = b"\x93NUMPY"
MAX_NPY_HEADER = 1024
MOST_EMBEDDED = 1e6  # a token of a network that is well is within some hundreds
FLOATS = ("<f4", "<f8", ">f4", ">f8", "<f2")
PIXELS = ("|u1",)
#: Kernel file systems on which reading can't hang at the will of whoever serves them (FUSE, NFS).
LOCAL = frozenset({"tmpfs", "ramfs", "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "overlay"})
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed(name: str, content: bytes) -> int:
    """A memfd that nobody can change any more; the caller closes it."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def size(fd: int, limit: int) -> int:
    """Bytes of a local regular file that can be read, of at most `limit`; SettingError if not."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise SettingError("the descriptor is no regular file. Pass a memfd with a .npy array")
    if found.st_size > limit:
        raise SettingError(f"the file has {found.st_size} bytes: at most {limit} are read")
    if fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_PATH | os.O_ACCMODE) not in (os.O_RDONLY, os.O_RDWR):
        raise SettingError("the descriptor can't be read. Open the file for reading")
    if not _local(fd):
        raise SettingError("the file is on no local file system. Pass a memfd instead")
    return found.st_size


def read_bounded(fd: int, limit: int) -> bytearray:
    """All of a local regular file of at most `limit` bytes.

    Copied, not mapped: the other end may truncate the file while we read.
    """
    content = bytearray(size(fd, limit))
    view, at = memoryview(content), 0
    while at < len(content):
        got = os.preadv(fd, [view[at:]], at)
        if not got:
            break
        at += got
    view.release()
    del content[at:]
    return content


def holds_pixels(fd: int, limit: int) -> bool:
    """Whether a file is a .npy array of bytes, as frames are; anything else is judged later."""
    size(fd, limit)
    head = os.pread(fd, MAX_NPY_HEADER, 0)
    return head[:6] == MAGIC and b"|u1" in head


def window(content: bytes | bytearray) -> Floats:
    """The [T, C] floats of a .npy file; nothing in it is trusted, nothing unpickled."""
    shape, dtype, fortran, start = _npy_header(content, FLOATS)
    steps, series = validation.window_shape(shape)
    flat = _flat(content, dtype, start, steps * series)
    return flat.reshape((steps, series), order="F" if fortran else "C").astype(np.float64)


def frames(content: bytes | bytearray) -> NDArray[np.uint8]:
    """The uint8 [T, H, W, 3] of a .npy file, not copied; SettingError says what is wrong."""
    shape, dtype, fortran, start = _npy_header(content, PIXELS)
    validation.frames_shape(shape)
    if fortran:
        raise SettingError("the frames are in Fortran order: save them in C order")
    pixels: NDArray[np.uint8] = _flat(content, dtype, start, math.prod(shape)).reshape(shape)
    return pixels


def tokens(content: bytes | bytearray) -> Floats32:
    """The finite floats [K, D] of a .npy file."""
    shape, dtype, fortran, start = _npy_header(content, FLOATS)
    if len(shape) != 2 or math.prod(shape) == 0:
        raise SettingError("an embedding is [K, D], a row a token")
    flat = _flat(content, dtype, start, math.prod(shape))
    found = flat.reshape(shape, order="F" if fortran else "C").astype(np.float32)
    if not (np.abs(found) <= MOST_EMBEDDED).all():
        raise SettingError(
            f"the embedding holds values that are no numbers up to {MOST_EMBEDDED:g}"
        )
    return found


def npy(array: Floats32) -> bytes:
    """A float32 array as a .npy file."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {array.shape}, }}"
    pad = -(len(MAGIC) + 4 + len(text) + 1) % 64
    header = (text + " " * pad + "\n").encode()
    head = MAGIC + b"\x01\x00" + struct.pack("<H", len(header)) + header
    return head + np.ascontiguousarray(array, dtype="<f4").tobytes()


def _flat(content: bytes | bytearray, dtype: np.dtype[Any], start: int, count: int) -> NDArray[Any]:
    wanted = count * dtype.itemsize
    if len(content) - start != wanted:
        raise SettingError(f"the .npy array has {len(content) - start} bytes instead of {wanted}")
    return np.frombuffer(content, dtype, offset=start)


def _npy_header(
    content: bytes | bytearray, dtypes: Sequence[str]
) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    try:
        if content[:6] != MAGIC:
            raise ValueError("no .npy magic")
        wide = content[6] > 1
        start = 12 if wide else 10
        (length,) = struct.unpack_from("<I" if wide else "<H", content, 8)
        if length > MAX_NPY_HEADER:
            raise ValueError(f"header of {length} bytes")
        header = ast.literal_eval(content[start : start + length].decode("latin-1").strip())
        descr, shape = header["descr"], header["shape"]
        if descr not in dtypes:
            raise ValueError(f"dtype {descr!r}: use {np.dtype(dtypes[0])}")
        if not all(type(n) is int and 0 <= n < 1 << 32 for n in shape):
            raise ValueError("its shape is none")
        math.prod(shape)
        return tuple(shape), np.dtype(descr), bool(header["fortran_order"]), start + length
    except (ValueError, TypeError, KeyError, IndexError, SyntaxError, struct.error) as error:
        raise SettingError(f"not a usable .npy array: {str(error)[:200]}") from error
    except (MemoryError, RecursionError) as error:
        raise SettingError("not a usable .npy array: header nested too deep") from error


def _local(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        return _mounted_as(fd) in LOCAL
    return True  # only memory-backed files have seals


def _mounted_as(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}") as file:
        mount = next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            if fields.split()[0] == mount:
                return rest.split()[0]
    return ""  # of a mount namespace that is not ours

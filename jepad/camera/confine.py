"""The sandbox of a camera's process, closed before the first byte of video is read.

Owns: limits on memory, files and cores; a system call filter (no program, no process, no network
where none is needed); Landlock (which directories can be seen). Each barrier that a kernel lacks
is left out and not named. Does not know codecs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import struct
import sys

from jepad.camera.source import Source

#: On top of what the process has when the source is opened.
MEMORY = 2 << 30
#: No file grows beyond this: the largest ring is smaller.
LARGEST_FILE = 1 << 30

_NO_NEW_PRIVS = 38
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_CLONE_THREAD = 0x10000
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026

#: Of each machine: the architecture's number, calls refused, clone, clone3, socket.
_CALLS: dict[str, tuple[int, tuple[int, ...], int, int, int]] = {
    # execve, execveat, fork, vfork, ptrace, process_vm_readv/writev, io_uring_setup, bpf, userns
    "x86_64": (0xC000003E, (59, 322, 57, 58, 101, 310, 311, 425, 321, 272, 165), 56, 435, 41),
    "aarch64": (0xC00000B7, (221, 281, 117, 270, 271, 425, 280, 97, 40), 220, 435, 198),
}

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_REMOVE, _MAKE_REG, _MAKE_SOCK, _TRUNCATE, _IOCTL = 1 << 5, 1 << 8, 1 << 9, 1 << 14, 1 << 15
#: Rights that each version of Landlock knows.
_KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_LOOK = _READ | _LIST
_KEEP = _LOOK | _WRITE | _REMOVE | _MAKE_REG | _MAKE_SOCK | _TRUNCATE


def confine(source: Source, runtime: str, prefix: str) -> tuple[str, ...]:
    """Shut the doors, for good; the barriers that hold."""
    held = ["limits"]
    _limit()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return tuple(held)
    rings = os.path.dirname(prefix) or "/dev/shm"
    if _landlock(libc, _places(source, runtime, rings)):
        held.append("files")
    if _seccomp(libc, networked=source.networked):
        held += ["programs"] if source.networked else ["programs", "network"]
    return tuple(held)


def _limit() -> None:
    for kind, most in (
        (resource.RLIMIT_AS, _size() + MEMORY),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ):
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


def _size() -> int:
    """Bytes of our address space."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _places(source: Source, runtime: str, rings: str) -> dict[str, int]:
    """What may be seen, and what may be changed."""
    programs = _READ | _LIST | _EXECUTE
    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    places = dict.fromkeys(
        ("/usr", "/lib", "/lib64", sys.prefix, sys.base_prefix, os.path.join(ours, "jepad")),
        programs,
    )
    places |= dict.fromkeys(("/proc", "/sys"), _LOOK)
    places |= {"/dev/urandom": _READ, "/dev/null": _READ | _WRITE, runtime: _KEEP, rings: _KEEP}
    if source.networked:
        places |= dict.fromkeys(("/etc", "/run/systemd/resolve", "/var/lib/ca-certificates"), _LOOK)
    if source.kind == "v4l2":
        # A camera that is plugged in anew is a new node: the directory, not the node.
        places["/dev"] = _LOOK | _WRITE | _IOCTL
    return places


def _landlock(libc: ctypes.CDLL, places: dict[str, int]) -> bool:
    """False where the kernel has none of it."""
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    known = _KNOWN[max(v for v in _KNOWN if v <= version)]
    handled = struct.pack("<Q", known)
    rules = libc.syscall(_CREATE_RULESET, handled, len(handled), 0)
    if rules < 0:
        return False
    try:
        for path, rights in places.items():
            _permit(libc, rules, path, rights & known)
        return bool(libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _permit(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    with contextlib.suppress(OSError):  # what is not there needs no permission
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(path):
                rights &= _READ | _WRITE | _EXECUTE | _TRUNCATE | _IOCTL
            libc.syscall(_ADD_RULE, rules, 1, struct.pack("<Qi", rights, place), 0)
        finally:
            os.close(place)


def _seccomp(libc: ctypes.CDLL, *, networked: bool) -> bool:
    """A filter over all threads' system calls; False where there is none for this machine."""
    machine = _CALLS.get(platform.machine())
    if machine is None or sys.maxsize < 1 << 32:
        return False
    code = b"".join(program(machine, networked=networked))
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a length and a pointer.
    head = struct.pack("@HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    # SECCOMP_SET_MODE_FILTER with TSYNC: the threads of ZeroMQ, too.
    number = 317 if platform.machine() == "x86_64" else 277
    return bool(libc.syscall(number, 1, 1, head) == 0)


def program(machine: tuple[int, tuple[int, ...], int, int, int], *, networked: bool) -> list[bytes]:
    """The filter in the kernel's instructions: arguments as in _CALLS."""
    architecture, refused, clone, clone3, socket = machine
    families = [_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK] if networked else [_AF_UNIX]
    code = [_load(4), struct.pack("=HBBI", 0x15, 1, 0, architecture), _give(_EPERM)]
    code += [_load(0), struct.pack("=HBBI", 0x35, 0, 1, 0x40000000), _give(_EPERM)]
    for number in refused:
        code += [_unless(number, 1), _give(_EPERM)]
    code += [_unless(clone3, 1), _give(_ENOSYS)]  # its flags can't be seen; glibc asks by clone
    thread = struct.pack("=HBBI", 0x45, 1, 0, _CLONE_THREAD)
    code += [_unless(clone, 4), _load(16), thread, _give(_EPERM), _give(_ALLOW)]
    allowed = [part for f in families for part in (_unless(f, 1), _give(_ALLOW))]
    code += [_unless(socket, len(allowed) + 2), _load(16), *allowed, _give(_EPERM)]
    return [*code, _give(_ALLOW)]


def _load(offset: int) -> bytes:
    """A word of struct seccomp_data."""
    return struct.pack("=HBBI", 0x20, 0, 0, offset)


def _unless(value: int, past: int) -> bytes:
    """Go over so many instructions when the word is another."""
    return struct.pack("=HBBI", 0x15, 0, past, value)


def _give(verdict: int) -> bytes:
    return struct.pack("=HBBI", 0x06, 0, 0, verdict)

"""The sandbox, tried by one who is in it."""

import json
import os
import platform
import subprocess
import sys

import pytest

from jepad.camera import confine

#: Tried within: each a name and what is done.
TRIES = """
import json, os, socket, subprocess, sys, threading
from jepad.camera import confine, source
runtime, prefix, spec, secret = sys.argv[1:]
held = confine.confine(source.source(spec), runtime, prefix)
def tried(act):
    try:
        act()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
def thread():
    one = threading.Thread(target=lambda: None)
    one.start(); one.join()
print(json.dumps({"held": held} | {name: tried(act) for name, act in {
    "program": lambda: subprocess.run(["/bin/true"]),
    "process": os.fork,
    "network": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
    "datagrams": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close(),
    "local": lambda: socket.socket(socket.AF_UNIX).close(),
    "read": lambda: open(secret).close(),
    "write": lambda: open(secret, "w").close(),
    "runtime": lambda: open(runtime + "/own", "w").close(),
    "ring": lambda: os.close(os.open(f"/dev/shm/{prefix}.x", os.O_CREAT | os.O_RDWR)),
    "module": lambda: __import__("colorsys"),
    "memory": lambda: bytearray(8 << 30),
    "thread": thread,
}.items()}))
"""


@pytest.fixture
def inside(tmp_path, prefix):
    """inside(spec): what can be done in the sandbox."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("x")

    def run(spec):
        done = subprocess.run(
            [sys.executable, "-c", TRIES, str(runtime), prefix, spec, str(secret)],
            capture_output=True, text=True, timeout=60,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_a_film_gets_no_network_no_program_and_no_file(inside):
    got = inside("file:/x")
    for name in ("local", "runtime", "ring", "module", "thread"):
        assert got[name] == "done", name
    assert got["memory"] == "MemoryError"
    if "programs" in got["held"]:
        assert got["program"] == got["process"] == "PermissionError"
    if "network" in got["held"]:
        assert got["network"] == got["datagrams"] == "PermissionError"
    if "files" in got["held"]:
        assert got["read"] == got["write"] == "PermissionError"
    assert "limits" in got["held"]


def test_a_camera_of_the_network_keeps_the_network(inside):
    got = inside("rtsp://camera/1")
    assert got["network"] == got["datagrams"] == got["thread"] == "done"
    assert "network" not in got["held"]


def verdict(code, architecture, number, argument=0):
    """What the filter says of a system call: the kernel's machine, as far as it is used."""
    words = {0: number, 4: architecture, 16: argument}
    at = held = 0
    while True:
        kind, yes, no, k = confine.struct.unpack("=HBBI", code[at])
        at += 1
        if kind == 0x20:
            held = words[k]
        elif kind == 0x06:
            return k
        else:
            true = {0x15: held == k, 0x35: held >= k, 0x45: bool(held & k)}[kind]
            at += yes if true else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("networked", [True, False])
def test_the_filter(machine, networked):
    architecture, refused, clone, clone3, socket = confine._CALLS[machine]
    code = confine.program(confine._CALLS[machine], networked=networked)
    allow, no, unknown = 0x7FFF0000, 0x00050001, 0x00050026

    def says(number, argument=0):
        return verdict(code, architecture, number, argument)

    assert {says(n) for n in refused} == {no}
    assert (says(clone, 0x10000), says(clone, 17), says(clone3)) == (allow, no, unknown)
    assert says(socket, 1) == allow
    assert says(socket, 2) == says(socket, 10) == (allow if networked else no)
    assert says(socket, 17) == says(socket, 38) == no
    assert says(0x40000000 + refused[0]) == no
    assert verdict(code, 3, 0) == no
    ordinary = set(range(400)) - {*refused, clone, clone3, socket}
    assert {says(n) for n in ordinary} == {allow}


def test_this_machine_is_known():
    assert platform.machine() in confine._CALLS

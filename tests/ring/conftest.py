"""The C test programs, built once a run, and the means to forge objects."""

import os
import pathlib
import subprocess

import numpy as np
import pytest

from jepad.ring.layout import Layout

REPO = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """Runs libjepad's test programs: `programs("torn", 8, 1000, 10)` gives their output."""
    build = tmp_path_factory.mktemp("libjepad")
    make = ["make", "-s", "-j2", "-C", str(REPO / "libjepad"), f"BUILD={build}"]
    subprocess.run([*make, "all", "examples", "tests"], check=True, timeout=120)

    def run(name, *args):
        argv = [str(build / name), *map(str, args)]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout

    run.build = build
    return run


@pytest.fixture
def layout():
    """A small stream of two float64 values."""
    schema = {"series": [{"name": "a"}, {"name": "b"}], "interval_s": 1.0}
    return Layout("telemetry", np.float64, (2,), schema, 8)


@pytest.fixture
def as_user():
    """Runs a function in a child of another uid; what it raised or returned comes back as text."""

    def run(function, uid=65534, gid=65534):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            try:
                os.setgroups([])
                os.setgid(gid)
                os.setuid(uid)
                text = str(function())
            except BaseException as error:
                text = f"{type(error).__name__}: {error}"
            os.write(write, text.encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        os.waitpid(pid, 0)
        return text

    return run

"""Whatever stands in a kernel file, only SourceError comes out, and the other sources go on."""

import math
import os
import pathlib
import random
import re
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jepad.errors import SourceError
from jepad.sources.snapshot import Snapshot

MUTATIONS = {
    "empty": lambda data, _: b"",
    "half": lambda data, _: data[: len(data) // 2],
    "cut": lambda data, rng: data[: rng.randrange(len(data) + 1)],
    "garbage": lambda data, rng: rng.randbytes(max(len(data), 16)),
    "spoilt": lambda data, rng: bytes(
        rng.randrange(256) if rng.random() < 0.05 else byte for byte in data
    ),
    "huge": lambda data, _: re.sub(rb"\d+", b"9" * 400, data),
    "words": lambda data, _: re.sub(rb"\d", b"x", data),
    "nan": lambda data, _: re.sub(rb"\d+", b"nan", data),
    "negative": lambda data, _: re.sub(rb"\d+", b"-1", data),
    "lines": lambda data, rng: b"".join(rng.sample(rows := data.splitlines(True), len(rows))),
    "no spaces": lambda data, _: data.replace(b" ", b""),
    "long": lambda data, _: data * (4_200_000 // max(len(data), 1)),
}


def files(roots):
    return sorted(
        path
        for root in (roots.proc, roots.sys)
        for path in pathlib.Path(root).rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def chosen(path, roots, rng):
    """All mutations for /proc, where each file has a parser of its own; for /sys a few a file."""
    names = sorted(MUTATIONS)
    return names if roots.proc in str(path) else rng.sample(names, 3)


def survey(sources, describe):
    """Names of the sources that failed; any other exception than SourceError fails the test."""
    failed = set()
    for source in sources:
        try:
            names = {s.name for s in source.describe()} if describe else None
            values = source.read() if names or not describe else {}
        except SourceError as error:
            values = getattr(error, "values", {})
            failed.add(source.name)
        assert all(isinstance(v, float) and math.isfinite(v) for v in values.values())
    return failed


def test_any_spoilt_file_costs_one_source_at_most(tree, plain):
    rng = random.Random(7)
    described = [s for s in plain(tree) if s.describe()]
    assert survey(described, describe=False) == set()
    for path in files(tree):
        good = path.read_bytes()
        for mutation in chosen(path, roots=tree, rng=rng):
            path.write_bytes(MUTATIONS[mutation](good, rng))  # open descriptors see it
            assert len(survey(described, describe=False)) <= 1, (path, mutation)
            path.write_bytes(good)
        assert survey(described, describe=False) == set(), path


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("proc/stat", "cpu"),
        ("proc/loadavg", "cpu"),
        ("proc/meminfo", "memory"),
        ("proc/vmstat", "vmstat"),
        ("proc/pressure/io", "psi"),
        ("proc/diskstats", "disk"),
        ("proc/net/dev", "network"),
        ("proc/net/sockstat", "network"),
        ("proc/net/snmp", "network"),
        ("proc/sys/fs/file-nr", "files"),
        ("sys/fs/cgroup/system.slice/cpu.stat", "cgroup"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "rapl"),
        ("sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq", "frequency"),
        ("sys/class/hwmon/hwmon2/fan1_input", "thermal"),
        ("sys/class/power_supply/BAT0/power_now", "power"),
        ("sys/class/drm/card0/device/gpu_busy_percent", "drm"),
    ],
)
def test_a_spoilt_file_is_told_with_its_path(tree, plain, file, source):
    described = [s for s in plain(tree) if s.describe()]
    path = pathlib.Path(tree.proc).parent / file
    failed = next(s for s in described if s.name == source)
    good = path.read_bytes()
    for mutation in ("empty", "garbage", "huge", "words", "nan"):
        path.write_bytes(MUTATIONS[mutation](good, random.Random(9)))
        with pytest.raises(SourceError) as told:
            failed.read()
        assert str(path) in str(told.value)
    assert survey(described, describe=False) == {source}


def test_any_spoilt_file_leaves_describing_possible(tree, plain):
    rng = random.Random(8)
    for path in files(tree):
        good = path.read_bytes()
        for mutation in chosen(path, roots=tree, rng=rng):
            path.write_bytes(MUTATIONS[mutation](good, rng))
            assert len(survey(plain(tree), describe=True)) <= 1, (path, mutation)
        os.unlink(path)
        assert len(survey(plain(tree), describe=True)) <= 1, (path, "missing")
        path.mkdir()
        assert len(survey(plain(tree), describe=True)) <= 1, (path, "directory")
        path.rmdir()
        path.write_bytes(good)


def test_a_vanished_tree_fails_no_tick(tree, plain):
    sources = plain(tree)
    snapshot = Snapshot(sources)
    shutil.rmtree(tree.proc)
    shutil.rmtree(tree.sys)
    snapshot.take()
    snapshot.redescribe()
    assert len(snapshot.take().values) == len(snapshot.series)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(at=st.integers(0, 10_000), data=st.binary(max_size=300))
def test_arbitrary_bytes_anywhere(tree, plain, at, data):
    path = files(tree)[at % len(files(tree))]
    good = path.read_bytes()
    sources = plain(tree)
    survey(sources, describe=True)
    path.write_bytes(data)
    survey(sources, describe=False)
    survey(sources, describe=True)
    path.write_bytes(good)

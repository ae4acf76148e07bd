"""Every source declares what it produces, on fixture trees and on this machine."""

import math

import pytest

from jepad.errors import SettingError
from jepad.paths import Roots
from jepad.sources.naming import named
from jepad.sources.processes import Processes
from jepad.sources.registry import SOURCES, build, processes_of

#: What these have comes and goes with power saving and with the work at hand.
SLEEPY = {"thermal", "drm", "nvidia", "cgroup", "power"}


def produced(source):
    source.read()
    return source.read()


def check(source, exact):
    series = source.describe()
    names = [s.name for s in series]
    assert len(set(names)) == len(names)
    if not series:
        return 0
    values = produced(source)
    assert set(values) == set(names) if exact else set(values) <= set(names), source.name
    for one in series:
        assert named(one.name) == one
        assert "," not in one.name
        assert one.name.isprintable()
    assert all(isinstance(v, float) and math.isfinite(v) for v in values.values())
    return len(series)


@pytest.mark.parametrize("hierarchy", ["tree", "tree_v1"])
def test_declared_is_produced_in_the_fixture_trees(hierarchy, plain, request):
    sources = plain(request.getfixturevalue(hierarchy))
    counts = {source.name: check(source, exact=True) for source in sources}
    # NVIDIA's driver speaks through a library, not through files: see test_nvidia.py.
    assert {name for name, count in counts.items() if not count} == {"nvidia"}


def test_declared_is_produced_on_this_machine(plain):
    counts = {s.name: check(s, exact=s.name not in SLEEPY) for s in plain(Roots())}
    assert all(counts[name] for name in ("cpu", "memory", "vmstat", "network", "processes"))
    assert 40 < sum(counts.values()) < 400


def test_an_empty_tree_is_a_machine_without_anything(tmp_path, plain):
    roots = Roots(*(str(tmp_path / name) for name in ("proc", "sys", "run", "dev")))
    for source in plain(roots):
        assert source.describe() == (), source.name


def test_sources_are_chosen_by_name():
    assert [s.name for s in build(Roots(), ["psi", "cpu"])] == ["cpu", "psi"]
    assert len(build(Roots())) == len(SOURCES)
    left = [s.name for s in build(Roots(), without=["psi"])]
    assert len(left) == len(SOURCES) - 1
    assert "psi" not in left
    with pytest.raises(SettingError, match="gpuu"):
        build(Roots(), without=["gpuu"])
    with pytest.raises(SettingError, match="no source is called 'gpuu'; there are cpu"):
        build(Roots(), ["cpu", "gpuu"])


def test_the_source_of_tasks_is_found_behind_its_thread():
    assert isinstance(processes_of(build(Roots())), Processes)
    assert processes_of(build(Roots(), ["cpu"])) is None

"""The loads really run, and what is missing is named."""

import os
import select
import subprocess

import pytest

from jepad.errors import SettingError
from jepad.learn.gym import workloads
from jepad.learn.gym.schedule import TRAITS, Unit
from jepad.learn.gym.workloads import Bench

#: What the house always has; the others need packages or a service's user.
ALWAYS = ("leak", "hog", "burst", "idle")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = str(tmp_path_factory.mktemp("gym"))
    workloads.prepare(made, ALWAYS)
    workloads.clear(Bench(made, 0))
    return made


def unit(workload):
    return Unit(f"t/{workload}", workload, 24, 0.3)


def first_lines(argv, cwd, count=2):
    """So many lines of what a load prints from its first operation on, and then its end."""
    child = subprocess.Popen(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    lines = []
    try:
        while len(lines) < count:
            assert select.select([child.stdout], [], [], 60.0)[0], "it says nothing"
            line = child.stdout.readline()
            assert line, "it ended"
            lines += [] if line.startswith(b"0 ") else [line]
        return lines
    finally:
        child.kill()
        child.wait(10)
        child.stdout.close()


@pytest.mark.parametrize("workload", ALWAYS)
def test_a_load_tells_its_operations(place, workload):
    (job,) = workloads.jobs(unit(workload), Bench(place, 3))
    lines = [line.split() for line in first_lines(job.argv, place)]
    assert [len(line) for line in lines] == [2, 2]
    assert int(lines[1][0]) >= int(lines[0][0])


@pytest.mark.parametrize("kind", ["stream", "thrash", "flood"])
def test_a_load_reads_a_file(place, kind, tmp_path):
    (tmp_path / "pages").write_bytes(b"x" * (16 << 20))
    argv = [f"{place}/load", kind, "size=16", f"file={tmp_path}/pages", "seed=1"]
    ops = int(first_lines(argv, place)[1].split()[0])
    assert ops > 0


def test_a_compiler_counts_what_it_compiled(place):
    (job,) = workloads.jobs(unit("compile"), Bench(place, 3))
    assert first_lines(job.argv, place, 1) == [b"1\n"]


def test_a_service_answers_and_its_client_measures(place):
    os.makedirs(f"{place}/served", exist_ok=True)
    for i in range(64):
        with open(f"{place}/served/f{i}", "wb") as f:
            f.write(b"x" * 100)
    service, client = workloads.jobs(unit("files"), Bench(place, 3))
    assert (service.inside, client.inside, client.asks) == (True, False, True)
    server = subprocess.Popen(service.argv, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        assert all(int(x) > 0 for x in first_lines(client.argv, place, 1)[0].split())
    finally:
        server.kill()
        server.wait(10)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name a kind"),
        (["nap"], "nap: no such kind"),
        (["hog", "size"], "size: not key=value"),
        (["hog", "speed=1"], "speed=1: no such key"),
        (["hog", "size=0"], "8 at least"),
        (["stream", "file=/none"], "/none: No such file"),
    ],
)
def test_a_load_says_what_it_can_not_do(place, words, told):
    done = subprocess.run([f"{place}/load", *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert told in done.stderr


def test_every_workload_has_a_command(place):
    for workload in set(TRAITS) - {"postgres"}:
        assert workloads.jobs(unit(workload), Bench(place, 1))


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SettingError, match=r"apt-get install coreutils gcc sqlite3 util-linux$"):
        workloads.check(["sqlite", "idle"])

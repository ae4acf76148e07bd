"""The tasks that stand out, by name."""

import os
import subprocess
import sys

import pytest

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.sources.processes import Processes

CHILD = """
import sys
open("/proc/self/comm", "w").write("a) \\nb\\x1b[2J")
held = bytearray()
for line in sys.stdin:
    held += b"x" * (60 << 20)
    sum(range(3_000_000))
    print("grown", flush=True)
"""


@pytest.fixture
def child():
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


def grow(process):
    process.stdin.write(b"\n")
    process.stdin.flush()
    process.stdout.readline()


def test_a_growing_task_is_named(child):
    grow(child)
    processes = Processes(Roots())
    processes.describe()
    first = processes.read()
    assert "proc.growth" not in first  # nothing to compare with yet
    grow(child)
    second = processes.read()
    top = {task.pid: task for task in processes.top()}
    assert top[child.pid].rss_bytes > 120 << 20
    assert top[child.pid].cpu_ticks > 0
    assert top[child.pid].comm == "a)__b__2J"
    assert top[child.pid].cgroup.startswith("/")
    growth = {task.pid: per_s for task, per_s in processes.growth()}
    assert growth[child.pid] > 0
    assert second["proc.growth"] >= growth[child.pid]
    assert second["proc.0.rss"] >= second["proc.1.rss"] >= second["proc.2.rss"]
    assert second["proc.0.cpu"] > 0
    assert second["nproc"] > 2


def test_top_can_be_unpacked_and_is_ordered_by_memory(tree):
    processes = Processes(tree)
    processes.read()
    top = processes.top()
    assert {(pid, comm, cgroup) for pid, comm, _, _, cgroup in top} == {
        (1412, "web_server_(1)", "/system.slice/web.service"),
        (1, "systemd", "/init.scope"),
        (2077, "bash", "/user.slice/user-1000.slice/session-2.scope"),
    }
    held = [task.rss_bytes for task in top]
    assert held == sorted(held, reverse=True)


def test_a_reused_pid_is_another_task(tree):
    processes = Processes(tree)
    processes.read()
    path = f"{tree.proc}/2077/stat"
    with open(path) as file:
        head, _, tail = file.read().rpartition(")")
    fields = tail.split()
    fields[11], fields[19], fields[21] = "900000", str(int(fields[19]) + 5), "9000000"
    with open(path, "w") as file:
        file.write(f"{head}) {' '.join(fields)}\n")
    assert processes.read()["proc.0.cpu"] == 0
    assert processes.growth() == []


def test_a_task_that_ends_during_the_scan_is_left_out(tree):
    os.unlink(f"{tree.proc}/1412/stat")
    processes = Processes(tree)
    assert processes.read()["nproc"] == 2


def test_no_task_at_all_is_an_error(tmp_path):
    (tmp_path / "12").mkdir()
    with pytest.raises(SourceError, match="no task could be read"):
        Processes(Roots(proc=str(tmp_path))).read()

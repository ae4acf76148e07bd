"""The gym's manifest survives round trips, kills and two recorders at once."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jepad.errors import SettingError
from jepad.learn.gym.episodes import (
    NAME,
    Applied,
    Episode,
    append,
    read_manifest,
    split_of,
    trace_path,
)

EPISODE = Episode(
    id="native-0007",
    file="native-0007.csv.gz",
    floor="native",
    seed=7,
    hz=10.0,
    seconds=132.0,
    kernel="Linux 6.1",
    memory_mib=512,
    swap_mib=0,
    units={"jepad-gym/files": "files"},
    actions=(
        Applied(60.25, "memory.high", "jepad-gym/files", 2.0**27),
        Applied(126.25, "memory.high", "jepad-gym/files", 2.0**28, undo=True),
    ),
    twin="native-0007-twin",
    split="held",
    labels={"oom_kills": 0.0, "latency_us_p99": 1234.5},
)
ROOT = Path(__file__).parents[3]
APPENDER = """
import sys
from dataclasses import replace
from jepad.learn.gym.episodes import append
from tests.learn.gym.test_episodes import EPISODE
print("up", flush=True)
for i in range(int(sys.argv[3])):
    append(sys.argv[1], replace(EPISODE, id=f"{sys.argv[2]}-{i}"))
"""


def appender(directory, name, count):
    child = subprocess.Popen(
        [sys.executable, "-c", APPENDER, directory, name, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert child.stdout.readline() == b"up\n"
    return child


def test_round_trip(tmp_path):
    append(str(tmp_path), EPISODE)
    assert read_manifest(str(tmp_path)) == [EPISODE]
    assert trace_path("here", EPISODE) == "here/native-0007.csv.gz"


def test_nothing_recorded_is_no_error(tmp_path):
    assert read_manifest(str(tmp_path / "none")) == []


def test_an_episode_recorded_again_stands_once_where_it_stood(tmp_path):
    there = str(tmp_path / "new")
    again = replace(EPISODE, labels={"oom_kills": 1.0})
    for episode in (EPISODE, replace(EPISODE, id="other"), again):
        append(there, episode)
    assert read_manifest(there) == [again, replace(EPISODE, id="other")]


def test_two_recorders_lose_nothing(tmp_path):
    children = [appender(str(tmp_path), name, 40) for name in "ab"]
    assert [child.wait(60) for child in children] == [0, 0]
    assert {e.id for e in read_manifest(str(tmp_path))} == {
        f"{name}-{i}" for name in "ab" for i in range(40)
    }


def test_killed_at_any_moment_it_is_whole(tmp_path):
    for kill in range(5):
        child = appender(str(tmp_path), str(kill), 100000)
        while len(read_manifest(str(tmp_path))) < 8 * (kill + 1):
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    mine = [int(e.id[2:]) for e in read_manifest(str(tmp_path)) if e.id.startswith("0-")]
    assert mine == list(range(len(mine)))
    append(str(tmp_path), EPISODE)
    assert read_manifest(str(tmp_path))[-1] == EPISODE


@pytest.mark.parametrize("text", ["", "{", '{"version":1}', '{"version":1,"episodes":[{"id":1}]}'])
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(SettingError, match=NAME):
        append(str(tmp_path), EPISODE)
    assert (tmp_path / NAME).read_text() == text


def test_a_newer_manifest_is_refused(tmp_path):
    (tmp_path / NAME).write_text('{"version":2,"episodes":[]}')
    with pytest.raises(SettingError, match="version 2"):
        read_manifest(str(tmp_path))


def test_every_fifth_seed_is_held_out():
    assert [seed for seed in range(13) if split_of(seed) == "held"] == [2, 7, 12]

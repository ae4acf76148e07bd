"""`jepactl plan`: the walk in the world that ships, a plan between two pictures, and refusals."""

import contextlib
import json
import subprocess
import sys
import time
from argparse import Namespace
from signal import SIGINT
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from jepad.cli import options
from jepad.cli.video import plan, scenes
from jepad.errors import NotFound, SettingError
from jepad.models import library
from jepad.planning import toy
from tests.scene.made import install
from tests.vision.films import still

ABOUT = scenes.About(
    name="toy", version="2-ac", digest="ab" * 32, device="cpu", size=64, frames=2, tubelet=2,
    states=2, random=False, where="here",
)  # fmt: skip
GOAL = (0.5, -0.5)


class Straight:
    """A planner that goes straight to the goal, or nowhere."""

    def __init__(self, share=1.0):
        self.about, self.share, self.quests = ABOUT, share, []

    def plan(self, quest, progress):
        self.quests.append(quest)
        progress(0.5, "energy 1")
        action = np.clip((np.array(GOAL) - quest.state) * self.share, -toy.STEP, toy.STEP)
        landscape = None
        if quest.search["landscape"]:
            values = np.arange(9, dtype=np.float32).reshape(3, 3)
            landscape = scenes.Landscape(values, ("dx", "dy"), (-0.25, -0.25), (0.25, 0.25))
        return scenes.Found(tuple(action.tolist()), ("dx", "dy"), (2.0, 1.0), landscape)


@pytest.fixture
def asked(monkeypatch):
    """asked(scene, *words) runs the verb with that planner."""
    story = {"goal": GOAL, "search": {"samples": 64, "elites": 8, "iterations": 6, "horizon": 1}}
    model = SimpleNamespace(manifest=SimpleNamespace(story=story))
    monkeypatch.setattr(plan.shelf, "find", lambda *_: model)

    def run(scene, *words):
        @contextlib.contextmanager
        def opened(_bus, name):
            scene.name = name
            yield scene

        monkeypatch.setattr(plan.scenes, "opened", opened)
        given: Namespace = options.parser().parse_args(["plan", *words])
        return plan.run(given)

    return run


def picture_of(path, state, size=None):
    image = Image.fromarray(toy.render(np.array(state)))
    (image if size is None else image.resize(size)).save(path)
    return str(path)


def test_it_walks_to_the_goal_that_ships(asked, capsys, tmp_path):
    out = str(tmp_path / "plan.png")
    scene = Straight()
    assert asked(scene, "--out", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reached"] is True
    assert told["goal"] == list(GOAL)
    assert told["distance"] <= told["arrived"]
    states = [told["start"], *(step["state"] for step in told["steps"])]
    for before, step, after in zip(states, told["steps"], states[1:], strict=False):
        assert toy.step(before, step["action"]).tolist() == pytest.approx(after, abs=1e-6)
    assert told["search"] == {"samples": 64, "elites": 8, "iterations": 6, "horizon": 1}
    assert told["landscape"]["axes"] == ["dx", "dy"]
    assert Image.open(out).size[0] > 1000
    assert [q.search["landscape"] for q in scene.quests] == [21] + [0] * (len(scene.quests) - 1)
    assert len({q.search["seed"] for q in scene.quests}) == len(scene.quests)
    assert np.array_equal(scene.quests[0].start[0], toy.render(np.array(told["start"])))
    assert scene.quests[0].bounds == "toy"
    assert told["random"] is False


def test_the_planner_is_shown_the_picture_itself(asked, tmp_path):
    path = picture_of(tmp_path / "goal.png", GOAL, (200, 200))
    scene = Straight()
    assert asked(scene, "--goal", path) == 0
    assert np.array_equal(scene.quests[0].goal[0], np.asarray(Image.open(path).convert("RGB")))


def test_what_may_be_done_in_the_toy_world(asked):
    scene = Straight()
    asked(scene, "--bounds", "droid", "--steps", "1")
    assert scene.quests[0].bounds == "droid"
    with pytest.raises(SettingError, match="--state is of a robot"):
        asked(Straight(), "--state", "1,2")


def test_in_words(asked, capsys):
    assert asked(Straight()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["STEP", "DX", "DY", "ENERGY", "DISTANCE"]
    assert lines[1].split()[0] == "1"
    assert lines[-1].startswith(f"reached the goal in {len(lines) - 2} steps")


def test_a_planner_that_gets_nowhere_is_exit_1(asked, capsys):
    assert asked(Straight(0.0), "--steps", "3") == 1
    assert "did not reach the goal in 3 steps" in capsys.readouterr().out


def test_a_start_at_the_goal_needs_no_step(asked, capsys, tmp_path):
    path = picture_of(tmp_path / "goal.png", (0.25, 0.25))
    out = str(tmp_path / "p.png")
    assert asked(Straight(), "--start", path, "--goal", path, "--out", out) == 0
    assert "reached the goal in 0 steps" in capsys.readouterr().out
    assert Image.open(out).size[0] > 1000


def test_flags_come_before_the_models_own_settings(asked):
    scene = Straight()
    asked(scene, "--samples", "32", "--horizon", "2", "--seed", "5", "--steps", "1")
    assert scene.quests[0].search == {
        "samples": 32, "elites": 8, "iterations": 6, "horizon": 2, "seed": 5, "landscape": 0
    }  # fmt: skip


@pytest.mark.parametrize("size", [None, (200, 200), (120, 90)])
def test_a_picture_says_where_the_disc_is(tmp_path, size):
    state = (-0.4, 0.3)
    if size and size[0] != size[1]:  # a wide picture with the world in its middle
        whole = Image.new("RGB", size)
        whole.paste(Image.fromarray(toy.render(np.array(state))).resize((90, 90)), (15, 0))
        whole.save(tmp_path / "a.png")
        path = str(tmp_path / "a.png")
    else:
        path = picture_of(tmp_path / "a.png", state, size)
    assert plan._located(path) == pytest.approx(state, abs=0.02)


def test_a_picture_of_something_else_is_refused(tmp_path, asked):
    other = still(tmp_path / "other.png", (64, 64))
    with pytest.raises(SettingError, match="no picture of the toy world"):
        asked(Straight(), "--goal", other)
    with pytest.raises(NotFound, match=r"absent\.png"):
        asked(Straight(), "--goal", str(tmp_path / "absent.png"))


def test_a_robots_plan_over_the_bus(served, jepactl, tmp_path):
    served()
    start, goal = still(tmp_path / "a.png"), still(tmp_path / "b.png", (40, 50))
    words = ("plan", "--model", "served", "--start", start, "--goal", goal, "--samples", "40")
    out = str(tmp_path / "plan.png")
    done = jepactl(*words, "--state", "0.5,-1", "--bounds", "toy", "--out", out, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["action"] == [0.5, -0.25]
    assert told["state"] == [0.5, -1.0]
    assert told["landscape"]["energies"] == [[1.0, 2.0], [3.0, 4.0]]
    assert (told["environment"], told["search"]) == (None, {"samples": 40})
    assert Image.open(out).size[0] > 700
    done = jepactl(*words)
    assert done.stdout.splitlines() == [
        "AXIS   ACTION", "dx     0.5000", "dy    -0.2500",
        "energy 2, after the search 1. Nothing was done.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "wants --start"), (("--state", "1"), "2 numbers"), (("--state", "a,b"), "2 numbers"),
     (("--state", "nan,0"), "2 numbers")],
)  # fmt: skip
def test_what_a_robots_plan_wants(served, jepactl, tmp_path, words, said):
    served()
    images = ("--start", still(tmp_path / "a.png"), "--goal", still(tmp_path / "b.png"))
    done = jepactl("plan", "--model", "served", *(images if words else ()), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_plan_that_fails_keeps_its_error(served, jepactl, tmp_path):
    served(FAILING="1")
    path = still(tmp_path / "a.png")
    done = jepactl("plan", "--model", "served", "--start", path, "--goal", path)
    assert (done.returncode, done.stderr) == (1, "jepactl: nowhere to go\n")


def test_an_interrupt_cancels_the_job(served, tmp_path):
    served(ENDLESS="1")
    path = still(tmp_path / "a.png")
    words = ["plan", "--model", "served", "--start", path, "--goal", path]
    child = subprocess.Popen([sys.executable, "-m", "jepad.cli", *words], stderr=subprocess.PIPE)
    client = scenes.Client("session")
    end = time.monotonic() + 30
    asked_for = ("", "")
    while "served" not in asked_for and time.monotonic() < end:  # until the job was begun
        told = client.properties("/org/jepad1/job/1", scenes.JOB)["Result"]["told"]
        asked_for = ("served",) if json.loads(told) else ("", "")
        time.sleep(0.05)
    time.sleep(0.3)  # the answer is on its way
    child.send_signal(SIGINT)
    _, errors = child.communicate(timeout=30)
    assert (child.returncode, errors) == (130, b"")
    assert client.properties("/org/jepad1/job/1", scenes.JOB)["State"] == "cancelled"


def test_a_robots_plan_in_an_engine_of_its_own(environment, tmp_path, jepactl):
    install(library.library(str(tmp_path / "state/jepad")), "vitg-256-ac")
    start, goal = still(tmp_path / "a.png"), still(tmp_path / "b.png", (40, 50))
    words = ["plan", "--model", "vitg-256-ac", "--start", start, "--goal", goal, "--json"]
    search = ["--samples", "8", "--elites", "3", "--iterations", "3", "--horizon", "1"]
    found = [jepactl(*words, *search, "--out", str(tmp_path / "plan.png")) for _ in range(2)]
    assert [done.returncode for done in found] == [0, 0], found[0].stderr
    told, again = (json.loads(done.stdout) for done in found)
    assert told["where"] == "an engine of its own"
    assert told["names"] == ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    assert told["action"][3:6] == [0, 0, 0]
    assert len(told["energies"]) == 3
    assert np.array(told["landscape"]["energies"]).shape == (21, 21)
    assert (told["action"], told["energies"]) == (again["action"], again["energies"])


def test_the_model_that_ships_reaches_its_goal(jepactl, tmp_path):
    out = str(tmp_path / "plan.png")
    done = jepactl("plan", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["environment"], told["model"], told["reached"]) == ("toy", "toy", True)
    assert told["distance"] <= told["arrived"] < toy.distance(told["start"], told["goal"])
    assert 0 < len(told["steps"]) < 12
    assert told["steps"][-1]["energies"][-1] < told["steps"][0]["energies"][-1]
    shown = np.asarray(Image.open(out).convert("RGB")).reshape(-1, 3)
    assert len(np.unique(shown, axis=0)) > 50  # the landscape

"""The toy model: how it is trained, and that the one that ships does what its manifest says."""

import json
import os
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jepad.errors import ModelError, SettingError
from jepad.jepa.video.shape import from_json
from jepad.learn.video import drive, parts
from jepad.learn.video import toy as training
from jepad.models import library
from jepad.planning import toy
from jepad.planning.bounds import TOY, read
from jepad.planning.energy import Survey

SHORT = training.Steps(encoder=2, action=2)


@pytest.fixture(scope="module")
def shipped():
    return library.read(library.shipped())


@pytest.fixture(scope="module")
def model(shipped):
    weights = load_file(shipped.path("weights.safetensors"))
    built = {
        part: parts.filled(from_json(shape), lambda key, part=part: weights[f"{part}.{key}"])
        for part, shape in shipped.manifest.shapes.items()
    }
    return drive.Model(built["encoder"], built["action"])


@pytest.fixture
def quick(monkeypatch):
    """Small batches, short ways."""
    monkeypatch.setattr(training, "_BATCH", 4)
    monkeypatch.setattr(drive, "STEPS", 8)


def test_the_same_seed_is_the_same_model(quick):
    first, second = (_weights(training.train(SHORT, lambda *_: None)) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = _weights(training.train(training.Steps(2, 2, seed=1), lambda *_: None))
    assert not torch.equal(other["encoder.norm.weight"], first["encoder.norm.weight"])


def test_every_step_is_told_with_its_terms(quick):
    told = []
    training.train(SHORT, lambda stage, terms: told.append((stage, set(terms))))
    assert [stage for stage, _ in told] == ["encoder", "encoder", "action", "action"]
    assert told[0][1] == {"apart"}
    assert told[2][1] == {"taught", "alone", "total"}


def test_ways_are_what_the_world_does():
    states, actions = training.ways(3, np.random.default_rng(0))
    assert (states.shape, actions.shape) == ((3, 3, 2), (3, 2, 2))
    assert np.array_equal(toy.step(states[:, 1], actions[:, 1]), states[:, 2])


def test_a_model_that_finds_nothing_is_not_written(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(drive, "STEPS", 1)
    out = tmp_path / "toy"
    words = ["--out", str(out), "--goals", "2", "--steps", "2"]
    assert training.main(words) == ModelError.exit_code
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines[:2]] == [
        "toy: encoder: 2 steps", "toy: action: 2 steps"
    ]  # fmt: skip
    assert "apart 0." in lines[0]
    assert "goals reached: not written" in lines[2]
    assert len(lines) == 3
    assert not out.exists()


@pytest.mark.parametrize("steps", ["0", "-1", "many"])
def test_no_steps_are_no_training(tmp_path, capsys, steps):
    with pytest.raises(SystemExit):
        training.main(["--out", str(tmp_path / "toy"), "--steps", steps])
    assert "no number of steps" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Documents", "with space", "file/toy"])
def test_where_it_goes_is_checked_before_it_is_trained(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trained"))
    (tmp_path / "Documents").mkdir()
    (tmp_path / "Documents" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("dear")
    assert training.main(["--out", str(tmp_path / name)]) != 0
    assert capsys.readouterr().err.startswith("toy: ")
    assert (tmp_path / "Documents" / "letter.txt").read_text() == "dear"


def test_a_directory_that_is_no_model_is_not_written_over(quick, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    model = training.train(SHORT, lambda *_: None)
    with pytest.raises(SettingError, match="no model"):
        training.write(str(tmp_path), model, {})
    assert os.listdir(tmp_path) == ["letter.txt"]


def test_what_is_written_can_be_read(quick, tmp_path):
    model = training.train(SHORT, lambda *_: None)
    about = training.story(SHORT, [drive.Drive([1.0, 0.01]), drive.Drive([1.0, 0.01, 0.5])])
    written = training.write(str(tmp_path / "toy"), model, about)
    found = library.find(str(tmp_path), "toy")
    library.verify(found)
    assert found.manifest.digest == written.digest
    assert (about["goals_reached"], about["goals_touched"], about["goals"]) == (1, 2, 2)
    assert found.manifest.story["trained"] == asdict(SHORT)


def test_the_shipped_files_are_those_of_the_manifest(shipped):
    library.verify(shipped)
    sizes = [os.path.getsize(shipped.path(name)) for name in shipped.manifest.files]
    assert {"encoder.fp32.onnx", "action.fp32.onnx", "goal.png"} <= set(shipped.manifest.files)
    assert sum(sizes) <= 1.5e6
    assert shipped.manifest.random is False
    assert shipped.manifest.licence == "Apache-2.0"


def test_the_shipped_bounds_and_figures(shipped):
    story = shipped.manifest.story
    assert read(story["bounds"]) == TOY
    assert story["goals_reached"] >= 18
    assert story["goals"] == 20
    assert json.loads(json.dumps(story)) == story


def test_the_goal_picture_shows_the_goal(shipped):
    image = pytest.importorskip("PIL.Image")
    shown = np.asarray(image.open(shipped.path("goal.png")).convert("RGB"))
    assert np.array_equal(shown, toy.render(shipped.manifest.story["goal"]))


@pytest.mark.parametrize(
    ("start", "goal"), [([-0.9, 0.8], training.GOAL), ([0.7, -0.9], [-0.8, -0.6])]
)
def test_the_shipped_model_drives_to_goals(quick, model, start, goal):
    way = drive.drive(model, *(np.array(state, np.float32) for state in (start, goal)))
    assert way.distances[0] > 1
    assert way.arrived


def test_its_energy_is_lowest_towards_the_goal(model):
    """A step away from the goal, along the axis that leads there and back."""
    start, goal = np.zeros(2, np.float32), np.array([0.25, -0.25], np.float32)
    survey = Survey(TOY, ("dx", "dy"), 3)
    tried = torch.from_numpy(survey.actions(np.zeros((1, 2), np.float32)))
    found = survey.landscape(drive.energies(model, start, goal)(tried)).energies
    assert np.unravel_index(found.argmin(), found.shape) == (2, 0)
    assert np.unravel_index(found.argmax(), found.shape) == (0, 2)


def _weights(model):
    encoder = {f"encoder.{key}": value for key, value in model.encoder.state_dict().items()}
    return encoder | model.predictor.state_dict()

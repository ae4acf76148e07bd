"""The bench tells right from wrong: cases as they are, and cases that were tampered with."""

import json
import lzma
import shutil
import sys
import zlib

import numpy as np
import pytest

from bench import __main__ as command
from bench import conformance, controls, huggingface
from bench.conformance import KINDS, examined
from bench.controls import Control
from bench.golden import FIXTURES, Row
from bench.report import Options

SMALL = ("v20_masks_grid4", "cem_toy")


@pytest.fixture
def directory(tmp_path):
    """A few small cases of our own to spoil."""
    for name in SMALL:
        for end in (".npz", ".json"):
            shutil.copy(FIXTURES / f"{name}{end}", tmp_path)
    return tmp_path


def spoil(directory, name, change):
    """Rewrite a case; `change` gets its arrays and its description."""
    path = directory / f"{name}.npz"
    about = json.loads(path.with_suffix(".json").read_text())
    with np.load(path) as archive:
        arrays = dict(archive)
    change(arrays, about)
    np.savez(path, **arrays)
    path.with_suffix(".json").write_text(json.dumps(about))


@pytest.fixture
def alone(monkeypatch):
    """Without the peer, which takes long to import, and without models to spoil."""
    row, control = Row("peer", "logits", 0.0), Control("peer", "layout", 1.0, 0.5)
    monkeypatch.setattr(huggingface, "peers", lambda *_: [row])
    monkeypatch.setattr(huggingface, "controls", lambda *_: [control])


def test_every_kind_of_the_fixtures_has_a_runner():
    kinds = {json.loads(path.read_text())["kind"] for path in FIXTURES.glob("*.json")}
    assert kinds
    assert kinds <= set(KINDS)
    assert "hf" in KINDS


def test_what_is_right_is_met(directory, alone):
    report = conformance.run(Options(data=str(directory)))
    assert [goal.met for goal in report.goals] == [True] * 4
    told = report.to_json("conformance")
    cases = told["tables"][0]["rows"]
    assert [(row[0], row[1], row[3]) for row in cases] == [
        ("cem_toy", "cem_toy", "yes"), ("v20_masks_grid4", "masks", "yes")
    ]  # fmt: skip
    assert [table["title"][:9] for table in told["tables"]] == [
        "golden ca", "transform", "negative "
    ]  # fmt: skip


def test_one_index_or_one_millionth_too_far_is_missed(directory, alone):
    def nudged(arrays, _about):
        arrays["out/rollout1/mean"][2, 0, 1] += 3e-6

    def other(arrays, _about):
        arrays["out/set0/iter0/enc"][0, 0] += 1

    spoil(directory, "cem_toy", nudged)
    spoil(directory, "v20_masks_grid4", other)
    report = conformance.run(Options(data=str(directory)))
    assert [goal.value for goal in report.goals[:2]] == [0, 2]
    assert [goal.met for goal in report.goals] == [False, False, True, True]
    missed = report.tables[1]
    assert missed.title == "arrays out of tolerance"
    assert {row[1] for row in missed.rows} == {"out/rollout1/mean", "out/set0/iter0/enc"}


def unknown(_arrays, about):
    about["kind"] = "new"


def unnamed(_arrays, about):
    del about["kind"]


def shortened(arrays, _about):
    arrays["in/candidates"] = arrays["in/candidates"][:3]


def absent(arrays, _about):
    del arrays["in/toy_M"]


def empty(arrays, about):
    about["kind"] = "preproc"
    about["config"] = {"crops": [64]}
    arrays.clear()


def nan(arrays, _about):
    arrays["out/rollout1/mean"][:] = np.nan


@pytest.mark.parametrize("change", [unknown, unnamed, shortened, absent, empty, nan])
def test_a_case_that_is_none_is_missed_and_the_others_go_on(directory, change):
    spoil(directory, "cem_toy", change)
    assert not examined(directory, "cem_toy").ok
    assert examined(directory, "v20_masks_grid4").ok


@pytest.mark.parametrize("end", [".npz", ".json"])
def test_a_damaged_file_is_missed(directory, end):
    path = directory / f"cem_toy{end}"
    path.write_bytes(path.read_bytes()[:500])
    outcome = examined(directory, "cem_toy")
    assert not outcome.ok
    assert outcome.fault


@pytest.mark.parametrize(
    "error", [zlib.error, lzma.LZMAError, EOFError, AssertionError, MemoryError, ValueError]
)
def test_whatever_a_case_raises_the_others_go_on(directory, alone, monkeypatch, error):
    def broken(_case):
        raise error("spoilt")

    monkeypatch.setattr(conformance, "KINDS", {**KINDS, "cem_toy": broken})
    report = conformance.run(Options(data=str(directory)))
    assert (report.goals[0].value, report.goals[0].limit) == (1, 2)
    assert f"{error.__name__}: spoilt" in report.tables[0].rows[0]


@pytest.mark.parametrize("compressed", [np.savez, np.savez_compressed])
def test_no_flipped_byte_ends_the_run(directory, compressed):
    path = directory / "cem_toy.npz"
    with np.load(path) as archive:
        compressed(path, **dict(archive))
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(whole), 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        examined(directory, "cem_toy")


def copied(directory, *names):
    """Cases of the fixtures."""
    for name in names:
        for end in (".npz", ".json"):
            shutil.copy(FIXTURES / f"{name}{end}", directory)


@pytest.mark.parametrize("name", ["v20_predictor_hd32", "cem_toy", "preprocessing"])
@pytest.mark.parametrize("key", ["out/ghost", "mid/full/ghost", "out/unsorted/1"])
def test_what_nobody_compared_is_missed(tmp_path, name, key):
    copied(tmp_path, name)

    def more(arrays, _about):
        arrays[key] = np.zeros(3, np.float32)

    assert examined(tmp_path, name).ok
    spoil(tmp_path, name, more)
    outcome = examined(tmp_path, name)
    assert [row.array for row in outcome.rows if not row.ok] == [key] or key in outcome.fault


def test_half_a_case_is_missed(directory, alone):
    (directory / "cem_toy.json").unlink()
    (directory / "more.json").write_text("{}")
    report = conformance.run(Options(data=str(directory)))
    assert (report.goals[0].value, report.goals[0].limit) == (1, 3)
    faults = {row[0]: row[-1] for row in report.tables[0].rows}
    assert "cem_toy.json is missing" in faults["cem_toy"]
    assert "more.npz is missing" in faults["more"]


def test_a_dropped_parameter_is_a_fault_not_a_difference(tmp_path):
    for end in (".npz", ".json"):
        shutil.copy(FIXTURES / f"v20_predictor_hd32{end}", tmp_path)

    def drop(arrays, _about):
        del arrays["param/predictor/predictor_proj.bias"]

    spoil(tmp_path, "v20_predictor_hd32", drop)
    outcome = examined(tmp_path, "v20_predictor_hd32")
    assert not outcome.ok
    assert "predictor_proj.bias" in outcome.fault


def test_faults_made_on_purpose_must_be_noticed(alone, monkeypatch, tmp_path):
    for end in (".npz", ".json"):
        shutil.copy(FIXTURES / f"v20_predictor_hd32{end}", tmp_path)
    report = conformance.run(Options(quick=True, data=str(tmp_path)))
    assert report.goals[3].met
    unseen = [Control("c", "a.bias dropped", 0.0, 0.05), Control("c", "b.bias dropped", 1.0, 0.05)]
    monkeypatch.setattr(controls, "run", lambda *_: unseen)
    report = conformance.run(Options(quick=True, data=str(tmp_path)))
    assert (report.goals[3].value, report.goals[3].met) == (1, False)
    assert [row[1] for row in report.tables[-1].rows[:2]] == ["a.bias dropped", "b.bias dropped"]


def no_calls(arrays, about):
    about["config"]["calls"] = []
    for key in [key for key in arrays if key.startswith("mid/")]:
        del arrays[key]


def test_a_case_without_calls_shows_no_fault(alone, tmp_path):
    copied(tmp_path, "v20_predictor_hd32")
    spoil(tmp_path, "v20_predictor_hd32", no_calls)
    report = conformance.run(Options(quick=True, data=str(tmp_path)))
    assert [goal.met for goal in report.goals] == [False, False, True, False]


def test_controls_that_can_not_be_made_are_unnoticed_faults(alone, monkeypatch, tmp_path):
    copied(tmp_path, "v20_predictor_hd32")

    def broken(*_):
        yield Control("v20_predictor_hd32", "layout", 1.0, 0.5)
        raise AssertionError("spoilt")

    monkeypatch.setattr(controls, "run", broken)
    report = conformance.run(Options(quick=True, data=str(tmp_path)))
    assert [goal.met for goal in report.goals] == [True, True, True, False]
    assert report.goals[3].value == 1
    assert report.tables[-1].rows[0][1] == "not made: AssertionError: spoilt"


def test_a_case_that_could_not_run_has_no_controls(alone, monkeypatch, tmp_path):
    copied(tmp_path, "v20_predictor_hd32")
    spoil(tmp_path, "v20_predictor_hd32", lambda _arrays, about: about.pop("rope"))
    monkeypatch.setattr(controls, "run", lambda *_: pytest.fail("made controls"))
    report = conformance.run(Options(quick=True, data=str(tmp_path)))
    assert "rope.layout" in report.tables[0].rows[0][-1]
    assert [goal.met for goal in report.goals] == [False, True, True, True]


@pytest.mark.parametrize("right", [True, False])
def test_a_miss_is_exit_1(directory, alone, monkeypatch, capsys, right):
    if not right:
        spoil(directory, "cem_toy", nan)
    monkeypatch.setattr(sys, "argv", ["bench", "conformance", "--data", str(directory), "--json"])
    assert command.main() == (0 if right else 1)
    assert json.loads(capsys.readouterr().out)["bench"] == "conformance"


def test_a_directory_without_cases_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "conformance", "--data", str(tmp_path)])
    assert command.main() == 1
    assert "no golden cases" in capsys.readouterr().err

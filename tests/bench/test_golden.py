"""The reader of golden cases notices what is missing, misshapen or not a number."""

import json
import shutil

import numpy as np
import pytest
import torch

from bench import controls, golden
from jepad.errors import NotFound, SettingError

CASE = "v20_predictor_hd32"


def copied(directory, change):
    """The case with its arrays changed by `change`."""
    shutil.copy(golden.FIXTURES / f"{CASE}.json", directory)
    arrays = golden.load(golden.FIXTURES, CASE).arrays
    np.savez(directory / f"{CASE}.npz", **change(dict(arrays)))
    return golden.load(directory, CASE)


def test_the_fixtures_are_all_there_and_small():
    names = golden.names(golden.FIXTURES)
    kinds = {golden.load(golden.FIXTURES, name).kind for name in names}
    assert kinds == {"modules", "ac", "train20", "train21", "cem_toy", "masks", "preproc"}
    assert sum(p.stat().st_size for p in golden.FIXTURES.iterdir()) <= 6_000_000
    for name in names:
        about = golden.load(golden.FIXTURES, name).about
        assert about["source"]["repository"] == "facebookresearch/vjepa2"
        assert "arrays" in about


def test_a_directory_without_cases_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        golden.names(tmp_path)
    with pytest.raises(NotFound):
        golden.load(tmp_path, CASE)


@pytest.mark.parametrize(
    "key", ["param/predictor/predictor_norm.bias", "param/predictor/mask_tokens.2"]
)
def test_a_dropped_parameter_is_an_error(tmp_path, key):
    case = copied(tmp_path, lambda a: {k: v for k, v in a.items() if k != key})
    with pytest.raises(RuntimeError, match="Missing key"):
        list(golden.run(case))


def test_a_parameter_nobody_reads_is_an_error(tmp_path):
    case = copied(tmp_path, lambda a: a | {"param/predictor/pos_embed": np.zeros(1, np.float32)})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        list(golden.run(case))


def test_shapes_and_nan_never_pass(tmp_path):
    def change(arrays):
        arrays["out/mask_index_0"] = arrays["out/mask_index_0"][:, :5]
        arrays["out/unsorted"] = np.full_like(arrays["out/unsorted"], np.nan)
        return arrays

    rows = {row.array: row.ok for row in golden.run(copied(tmp_path, change))}
    failed = {name for name, ok in rows.items() if not ok}
    assert failed == {"out/mask_index_0", "out/unsorted"}


def told(directory, change):
    """The case with its description changed by `change`."""
    shutil.copy(golden.FIXTURES / f"{CASE}.npz", directory)
    about = json.loads((golden.FIXTURES / f"{CASE}.json").read_text())
    change(about)
    (directory / f"{CASE}.json").write_text(json.dumps(about))
    return golden.load(directory, CASE)


@pytest.mark.parametrize("rope", [None, {}, {"layout": "halves"}])
def test_a_layout_that_is_not_said_is_an_error(tmp_path, rope):
    case = told(tmp_path, lambda about: about.update(rope=rope))
    with pytest.raises(SettingError, match=r"v20_predictor_hd32: rope\.layout is"):
        list(golden.run(case))


@pytest.mark.parametrize(
    ("option", "value"), [("norm_eps", 1e-5), ("qkv_bias", False), ("use_silu", True)]
)
def test_a_case_of_another_model_is_an_error(tmp_path, option, value):
    def change(about):
        about["config"]["modules"]["predictor"]["args"][option] = value

    with pytest.raises(SettingError, match=f"predictor has {option} {value}, ours is"):
        list(golden.run(told(tmp_path, change)))


def test_the_eps_of_a_probe_is_the_cases():
    case = golden.load(golden.FIXTURES, "attentive_probe")
    assert golden.shape(case, "classifier").eps == 1e-5
    case.config["modules"]["classifier"]["args"]["norm_eps"] = 1e-6
    assert golden.shape(case, "classifier").eps == 1e-6
    assert any(not row.ok for row in golden.run(case))


def test_a_case_without_one_of_its_files_is_named(tmp_path):
    shutil.copy(golden.FIXTURES / f"{CASE}.npz", tmp_path)
    shutil.copy(golden.FIXTURES / "cem_toy.json", tmp_path)
    assert golden.names(tmp_path) == ["cem_toy", CASE]
    for name, missing in ((CASE, f"{CASE}.json"), ("cem_toy", "cem_toy.npz")):
        with pytest.raises(NotFound, match=f"{missing} is missing"):
            golden.load(tmp_path, name)


def test_differences():
    wanted = np.array([1.0, 2.0], np.float32)
    assert golden.difference(torch.tensor([1.0, 2.5]), wanted) == 0.5
    assert golden.difference(wanted[:1], wanted) == np.inf
    assert np.isnan(golden.difference(np.array([np.nan, 0]), wanted))


def test_a_fault_nobody_sees_is_not_ok():
    assert not controls.Control("case", "fault", float("nan"), 0.1).ok
    assert not controls.Control("case", "fault", 1e-6, 0.1).ok


def test_the_json_of_a_case_names_what_was_cut():
    for name in golden.names(golden.FIXTURES):
        case = golden.load(golden.FIXTURES, name)
        listed = set(json.loads((golden.FIXTURES / f"{name}.json").read_text())["arrays"])
        assert listed == {key for key in case.arrays if not key.startswith("param/")}

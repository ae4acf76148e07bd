"""The reader of golden cases notices what is missing, misshapen or not a number."""

import json
import shutil

import numpy as np
import pytest
import torch

from bench import controls, golden
from jepad.errors import NotFound

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
        arrays["out/unsorted/1"] = np.zeros(3)
        return arrays

    rows = {row.array: row.ok for row in golden.run(copied(tmp_path, change))}
    failed = {name for name, ok in rows.items() if not ok}
    assert failed == {"out/mask_index_0", "out/unsorted", "out/unsorted/1"}


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

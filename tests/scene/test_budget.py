"""Memory is checked before anything is loaded."""

import pytest

from jepad.errors import TooLarge
from jepad.scene import budget
from jepad.scene.budget import Budget


def test_refusals_say_need_and_have():
    Budget().check(5, 5, "it")
    with pytest.raises(TooLarge, match=r"it needs 9 MB, 5 MB are free"):
        Budget().check(9_000_000, 5_000_000, "it")
    with pytest.raises(TooLarge, match=r"it needs 9 MB, the limit is 7 MB: raise"):
        Budget(7_000_000).check(9_000_000, 50_000_000, "it")


def test_a_model_needs_its_weights_and_room_to_work(model):
    installed = model()
    told = installed.manifest.resident_bytes["fp32"]
    assert budget.resident(installed, "fp32") == told
    half = budget.resident(installed, "bf16")
    assert 0.3 * told < half < 0.7 * told
    assert budget.needed(installed, "fp32") > told + budget.OVERHEAD

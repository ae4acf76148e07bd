"""Memory counted from shapes is what a published model would take."""

import pytest

from jepad.jepa.video.shape import PRESETS
from jepad.models import footprint


def size(preset, precision):
    return footprint.resident(footprint.of_preset(PRESETS[preset]), precision)


def test_vit_g_in_int8_fits():
    assert size("vitg-384", "int8") <= 1.25e9
    assert size("vitg-384", "fp32") > 4e9


@pytest.mark.parametrize("preset", PRESETS)
def test_an_encoder_shrinks_to_less_than_three_tenths(preset):
    shapes = {"encoder": PRESETS[preset].encoder}
    small, whole = (footprint.resident(shapes, p) for p in ("int8", "fp32"))
    assert small < 0.3 * whole


def test_published_counts_of_parameters():
    """As their papers and files have them: millions."""
    found = {name: footprint.resident({"encoder": p.encoder}, "fp32") / 4e6
             for name, p in PRESETS.items()}  # fmt: skip
    assert found["vitl-256"] == pytest.approx(303.9, abs=0.1)
    assert found["vith-256"] == pytest.approx(632, abs=3)
    assert found["vitg-256"] == pytest.approx(1012, abs=3)
    assert found["vitG-384-2.1"] == pytest.approx(1840, abs=20)
    only = {"predictor": PRESETS["vitl-256"].predictor}
    assert footprint.resident(only, "fp32") / 4e6 == pytest.approx(22.1, abs=0.1)
    only = {"action": PRESETS["vitg-256-ac"].action}
    assert footprint.resident(only, "fp32") / 4e6 == pytest.approx(305, abs=1)

"""The rule that lets user jepad start cameras' units, and no other."""

import re
from pathlib import Path

import pytest

RULES = (Path(__file__).parents[2] / "dbus/50-jepad-camera.rules").read_text()
PATTERN = re.compile(re.search(r"/(\^.+\$)/\.test", RULES)[1])


@pytest.mark.parametrize(
    ("unit", "granted"),
    [
        ("jepad-camera@video0.service", True),
        ("jepad-camera-stream@front_door.service", True),
        ("jepad-camera@video0.service ssh.service", False),
        ("jepad-engine@cpu.service", False),
        ("xjepad-camera@video0.service", False),
        ("jepad-camera@../x.service", False),
        ("jepad-camera@video0.socket", False),
    ],
)
def test_units(unit, granted):
    assert bool(PATTERN.search(unit)) == granted


def test_only_starting_and_only_for_jepad():
    assert 'subject.user == "jepad"' in RULES
    assert 'action.lookup("verb") == "start"' in RULES
    assert RULES.count("polkit.Result") == 1

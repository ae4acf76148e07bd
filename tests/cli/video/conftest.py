"""A daemon that serves pictures, and films to ask it about."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.vision.films import film

HERE = Path(__file__).parent


@pytest.fixture
def served(environment, bus, monkeypatch):
    """served(**environment) starts a peer that has a model of pictures, as the user's own jepad."""
    started = []

    def start(**given):
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        child = subprocess.Popen(
            [sys.executable, HERE / "peer.py", bus], stdout=subprocess.PIPE, text=True
        )
        started.append(child)
        assert child.stdout.readline() == "ready\n"
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus)

    yield start
    for child in started:
        child.kill()
        child.wait(10)
        child.stdout.close()


@pytest.fixture
def clip(tmp_path):
    """Twelve frames, eight a second."""
    return film(tmp_path / "clip.mp4")

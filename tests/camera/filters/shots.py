"""Frames to filter, and settings to filter by."""

import numpy as np

from jepad.camera.settings import CameraSettings
from jepad.camera.shot import Shot

SIZE = 64


def noise(size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 250, (size, size, 3), np.uint8)


def shot(square, view=None):
    """`view` None: what is looked at is the square itself."""
    return Shot(square, 1, 0.0, lambda side: square if view is None else view)


def settings(**fields):
    return CameraSettings(source="lavfi:testsrc", size=SIZE, **fields)

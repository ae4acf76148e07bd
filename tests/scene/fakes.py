"""A backend that counts what it is asked, remembers nothing, and can be lost."""

import numpy as np

from jepad.errors import DeviceLost
from jepad.scene.backend import Encoded


class Clock:
    now = 1000

    def __call__(self):
        return self.now


class Counting:
    """tokens = patches' first values + 1; predictions = means of the context."""

    xp = np
    precision = "fp32"
    gate = {}  # noqa: RUF012 - never measured

    def __init__(self, device="cpu", manifest=None):
        self.device, self.manifest = device, manifest
        self.encoded, self.acted = [], 0
        self.lost = self.closed = False
        self.bytes = 8 << 30

    def free_bytes(self):
        return self.bytes

    def encode(self, patches, tables, levels=False):
        self._alive()
        self.encoded.append((patches.shape, tables.cos.shape[0]))
        tokens = (patches[..., :2] + 1).astype(np.float32)
        return Encoded(tokens, np.repeat(tokens, 2, -1) if levels else None)

    def predict(self, context, tables, mask_index):
        self._alive()
        ahead = tables.cos.shape[1] - context.shape[1]
        return np.repeat(context.mean(1, keepdims=True), ahead, 1)

    def classify(self, tokens):
        self._alive()
        return tokens.mean(1)

    def act(self, now, action, keep):
        self._alive()
        self.acted += len(action)
        return now.tokens + action.sum(-1)[:, None, None], () if keep else None

    def put(self, array):
        return np.ascontiguousarray(array, np.float32)

    def get(self, array):
        return np.asarray(array)

    def close(self):
        self.closed = True

    def _alive(self):
        if self.lost:
            raise DeviceLost("CUDA error: the device fell off the bus")

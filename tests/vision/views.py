"""A made-up view for tests of motion: textured ground, noise, a dark thing somewhere."""

import numpy as np

SIZE = 128


class View:
    """frame(...) gives the next one; the same seed, the same frames."""

    def __init__(self, seed=0, size=SIZE, noise=2.0, harsh=False):
        self._draws = np.random.default_rng(seed)
        low, high, colours = (0, 255, 1) if harsh else (60, 180, 3)
        coarse = self._draws.uniform(low, high, (size // 8, size // 8, colours))
        coarse = np.broadcast_to(coarse, (size // 8, size // 8, 3))
        self.ground = coarse.repeat(8, 0).repeat(8, 1)
        self._noise = noise

    def frame(self, thing=None, light=1.0, shift=(0, 0)):
        """`thing`: (top, left, height, width) of something black."""
        picture = np.roll(self.ground, shift, (0, 1)) * light
        if thing:
            top, left, height, width = thing
            picture[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = 10
        picture = picture + self._draws.normal(0, self._noise, picture.shape)
        return np.clip(picture, 0, 255).astype(np.uint8)

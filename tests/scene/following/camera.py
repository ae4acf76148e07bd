"""A camera of the tests': pictures of the toy world in a ring, and verdicts on their motion."""

import time

import numpy as np

from jepad.planning import toy
from jepad.ring.layout import Layout
from jepad.ring.writer import Writer

HEAD = {"head": ["gate", "changed"]}


class Camera:
    """publish() a frame; what was published is in `frames`."""

    def __init__(self, prefix, name="door", slots=64, shape=(toy.SIDE, toy.SIDE, 3), fps=4.0):
        schema = {"fps": fps} if fps else {}
        self.prefix, self.name = prefix, name
        self.stream = f"frames.{name}"
        self.writer = Writer.create(prefix, Layout(self.stream, np.uint8, shape, schema, slots))
        self.motion = None
        self.frames, self.times = [], []

    def gated(self, slots=64):
        layout = Layout(f"motion.{self.name}", np.float32, (2,), HEAD, slots)
        self.motion = Writer.create(self.prefix, layout)
        return self

    def publish(self, at=0.0, gate=None, flags=0, t_ns=None):
        """The disc at `at` of its way from left to right."""
        t_ns = time.monotonic_ns() if t_ns is None else t_ns
        frame = toy.render([2 * at - 1, 0.3])
        n = self.writer.publish(frame, t_ns, flags)
        if gate is not None:
            verdict = np.array([gate, 0.5], np.float32)
            self.motion.publish(verdict, t_ns, source_n=n)
        self.frames.append(frame)
        self.times.append(t_ns)
        return n

    def retire(self):
        for writer in (self.writer, self.motion):
            if writer is not None:
                writer.retire()

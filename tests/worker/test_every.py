"""Now and then."""

from jepad.worker import every
from jepad.worker.every import Every


def test_once_a_period(monkeypatch):
    now, done = [100.0], []
    monkeypatch.setattr(every.time, "monotonic", lambda: now[0])
    beat, never = Every(5, lambda: done.append(now[0])), Every(0, lambda: done.append("never"))
    for at in (100, 101, 104, 105, 120, 121):
        now[0] = float(at)
        beat.maybe()
        never.maybe()
    assert done == [100, 105, 120]

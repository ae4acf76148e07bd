"""Hysteresis: raise after holding, clear after holding, nothing in between."""

from jepad.config import Risk as Settings
from jepad.policy.alerts import Alerts
from jepad.records import Risk

S = 1_000_000_000


def feed(alerts, probabilities, domain="memory", start=0):
    for i, p in enumerate(probabilities):
        alerts.update([Risk(domain, p, 10.0, 60.0, "app.slice", "grows")], (start + i) * S)


def watched(hold_s=2.0):
    alerts, told = Alerts(Settings(hold_s=hold_s)), []
    alerts.subscribe(lambda a: told.append(("+", a.id)), lambda a: told.append(("-", a.id)))
    return alerts, told


def test_a_spike_shorter_than_the_hold_raises_nothing():
    alerts, told = watched()
    feed(alerts, [0.9, 0.9, 0.1, 0.9, 0.1])
    assert told == []


def test_raise_once_clear_once_then_a_new_id():
    alerts, told = watched()
    feed(alerts, [0.9] * 6 + [0.1] * 4 + [0.8] * 4)
    assert told == [("+", 1), ("-", 1), ("+", 2)]


def test_the_band_between_keeps_what_is():
    alerts, told = watched()
    feed(alerts, [0.9] * 4 + [0.5, 0.65, 0.5] * 5)
    assert told == [("+", 1)]
    assert alerts.active["memory"].risk.unit == "app.slice"


def test_a_domain_without_data_is_cleared_and_starts_anew():
    alerts, told = watched()
    feed(alerts, [0.9] * 4)
    for i in range(4, 9):
        alerts.update([], i * S)
    assert told == [("+", 1), ("-", 1)]
    feed(alerts, [0.9], start=9)
    alerts.update([], 10 * S)
    feed(alerts, [0.9], start=60)
    assert told == [("+", 1), ("-", 1)]


def test_what_is_raised_shows_the_risk_of_now():
    alerts, _ = watched()
    feed(alerts, [0.9] * 4 + [0.6])
    assert alerts.active["memory"].risk.probability == 0.6


def test_a_busy_processor_is_never_raised():
    alerts, told = watched(0.0)
    feed(alerts, [1.0] * 10, domain="cpu")
    assert told == []

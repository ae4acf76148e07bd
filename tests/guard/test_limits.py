"""The token bucket, by a clock moved by hand."""

import re

import pytest

from jepad.errors import RateLimited
from jepad.guard import limits
from jepad.guard.limits import Budget, Limits


def made(burst=10.0, rate=2.0):
    now = [0.0]
    return now, Limits(Budget(burst, rate), lambda: now[0])


def test_a_burst_passes_and_then_the_rate():
    now, bucket = made()
    for _ in range(10):
        bucket.spend(1000)
    with pytest.raises(RateLimited, match=r"uid 1000.*retry-after: 0.50 s"):
        bucket.spend(1000)
    now[0] += 0.5
    bucket.spend(1000)
    with pytest.raises(RateLimited):
        bucket.spend(1000)


def test_waiting_as_told_is_enough():
    now, bucket = made()
    bucket.spend(1, 10)
    for _ in range(20):
        with pytest.raises(RateLimited) as caught:
            bucket.spend(1, 3)
        now[0] += float(re.search(r"([\d.]+) s$", str(caught.value))[1])
        bucket.spend(1, 3)


def test_users_do_not_share():
    _, bucket = made()
    bucket.spend(1, 10)
    bucket.spend(2, 10)


def test_a_bucket_never_holds_more_than_a_burst():
    now, bucket = made()
    bucket.spend(1)
    now[0] += 1e6
    bucket.spend(1, 10)
    with pytest.raises(RateLimited):
        bucket.spend(1)


def test_a_refused_call_costs_nothing():
    _, bucket = made()
    bucket.spend(1, 8)
    for _ in range(5):
        with pytest.raises(RateLimited):
            bucket.spend(1, 5)
    bucket.spend(1, 2)


def test_the_oldest_bucket_goes_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BUCKETS", 2)
    _, bucket = made()
    for uid in (1, 2, 3):
        bucket.spend(uid, 10)
    bucket.spend(1, 10)
    with pytest.raises(RateLimited):
        bucket.spend(3)


def test_the_default_lets_a_thousand_calls_through_at_once():
    bucket = Limits(Budget(), lambda: 0.0)
    for _ in range(1000):
        bucket.spend(0)

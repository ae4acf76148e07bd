"""The same question is computed once; others are not taken for it."""

import numpy as np
import pytest

from jepad.scene.serving.cache import Cache, Key, digest


def test_kept_and_found():
    cache = Cache()
    assert cache.get(Key("m", "x", 0)) is None
    cache.put(Key("m", "x", 0), np.ones(3))
    np.testing.assert_array_equal(cache.get(Key("m", "x", 0)), np.ones(3))
    for other in (Key("n", "x", 0), Key("m", "y", 0), Key("m", "x", 1)):
        assert cache.get(other) is None
    assert (cache.hits, cache.misses) == (1, 4)


def test_the_least_recently_used_goes_first():
    cache = Cache(largest=3 * 80)
    for name in "abc":
        cache.put(Key("m", name), np.zeros(10))
    cache.get(Key("m", "a"))
    cache.put(Key("m", "d"), np.zeros(10))
    assert [cache.get(Key("m", n)) is not None for n in "abcd"] == [True, False, True, True]
    assert cache.bytes == 240
    cache.put(Key("m", "huge"), np.zeros(1000))
    assert cache.bytes == 240


def test_what_is_kept_can_not_be_changed_nor_keeps_its_batch():
    cache = Cache()
    batch = np.zeros((4, 10))
    cache.put(Key("m", "a"), batch[1])
    batch[1] = 7
    kept = cache.get(Key("m", "a"))
    assert not kept.any()
    assert kept.base is None
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1


def test_digests_tell_apart():
    a = np.arange(6, dtype=np.uint8)
    told = {
        digest([a]), digest([a.reshape(2, 3)]), digest([a.astype(np.float32)]), digest([a, a]),
        digest([a], 1), digest([a + 1]),
    }  # fmt: skip
    assert len(told) == 6
    strided = np.repeat(a, 2)[::2]
    assert digest([strided]) == digest([a])


def test_cleared_it_knows_nothing():
    cache = Cache()
    cache.put(Key("m", "a"), np.zeros(10))
    cache.clear()
    assert cache.get(Key("m", "a")) is None
    assert cache.bytes == 0

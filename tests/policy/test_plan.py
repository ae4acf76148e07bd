"""Plans over this machine's actions: what is proposed, how gently, and what is never."""

import asyncio
import math

import numpy as np
import pytest

from jepad.errors import EngineError, NotFound, NotReady, SettingError
from jepad.policy import plan
from jepad.policy.goal import Wish
from jepad.policy.plan import RANGES, Candidate, Search
from jepad.policy.question import Samples
from jepad.records import Series

GIB = 2.0**30
HELD = {
    "app.slice": 9, "app.slice/fire.service": 4, "app.slice/small.service": 1,
    "user.slice/user-1.slice/user@1.service": 6, "user.slice/session-2.scope": 5,
    "init.scope": 3, "system.slice/jepad.service": 2, "system.slice/dbus.service": 2,
}  # fmt: skip
SERIES = (
    Series("mem.MemAvailable", "KiB", "gauge"),
    *(Series(f"cgroup.{u}.memory_current", "B", "gauge") for u in HELD),
)
FIRE = "app.slice/fire.service"
FREE_KIB = 1e6


def samples(series=SERIES):
    row = [FREE_KIB, *(n * GIB for n in HELD.values())][: len(series)]
    return Samples(series, np.tile(row, (20, 1)), 1.0)


def wish(want="mem.MemAvailable >= 2GiB", **more):
    return Wish("memory", (want,), 64_000_000, **more)


class Model:
    """Answers as it was told: KiB more in 64 s by action, else nothing."""

    def __init__(self, gains):
        self.gains, self.asked = gains, []

    async def __call__(self, step):
        self.asked.append(step)
        await asyncio.sleep(0)
        gain = self.gains(step)
        without = FREE_KIB + len(self.asked)  # it differs a little with the channels asked about
        return {
            "series": ["mem.MemAvailable"],
            "units": ["KiB"],
            "without": [[0.0, without, 9e9]],
            "with": [[0.0, without + gain, 9e9]],
            "difference": [[0.0, gain, 9e9]],
            "horizon_usec": 64_000_000,
            "unit": step.unit,
            "model": "ab" * 32,
            "steps": None,
            "actions": ["freeze"],
        }


def searched(model, wished=None, told=None, known=None):
    wished = wished or wish()
    known = known or samples()
    aim = plan.understood(wished, known.series, ("*",))
    heard = [] if told is None else told

    async def run():
        search = Search(aim, model, lambda share, words: heard.append((share, words)))
        return await search.run(plan.candidates(aim, known))

    return asyncio.run(run())


def limit(step):
    """memory.high of fire.service gives back what it takes away."""
    return (4 * GIB - step.value) / 1024 if (step.kind, step.unit) == ("memory.high", FIRE) else 0.0


def test_the_value_is_tuned_to_reach_the_goal_and_no_further():
    told = []
    got = searched(Model(limit), told=told)
    assert (got["action"], got["unit"], got["reached"]) == ("memory.high", FIRE, True)
    needed = 4 * GIB - (2 * GIB - FREE_KIB * 1024)
    assert 1.0 * GIB <= got["value"] <= needed  # never under a quarter
    assert got["energy"] == 0 < got["energy_without"] < 1
    assert got["applied"] is False
    assert got["wants"] == ["mem.MemAvailable >= 2097152"]
    assert got["with"][0][1] > got["without"][0][1]
    assert "steps" not in got
    best = got["tried"][0]
    assert (best["action"], best["value"], best["energy"]) == ("memory.high", got["value"], 0)
    reaching = [t["value"] for t in got["tried"] if t["energy"] == 0]
    assert got["value"] == max(reaching)  # the gentlest that reaches it
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] <= 1
    assert ("memory.high " + FIRE) in told[-1][1]


def test_between_equals_the_gentler():
    kinds = ("freeze", "memory.high", "drop_caches")
    got = searched(Model(lambda step: 2e6), wish(actions=kinds))
    assert got["action"] == "drop_caches"
    got = searched(Model(lambda step: 2e6), wish(actions=("freeze", "cpu.weight")))
    assert got["action"] == "cpu.weight"


def test_what_brings_nothing_is_not_proposed():
    got = searched(Model(lambda step: -1e5))
    assert (got["action"], got["unit"], got["value"], got["reached"]) == ("", "", 0.0, False)
    assert got["energy"] == got["energy_without"] > 0
    assert got["with"] == got["without"]
    assert not np.any(got["difference"])
    got = searched(Model(lambda step: 1e5), wish("mem.MemAvailable >= 1MiB"))
    assert (got["action"], got["reached"], got["energy"]) == ("", True, 0)


def test_candidates_are_compared_from_one_forecast_without_action():
    """The forecast without action drifts by some KiB a question; that is nobody's merit."""
    got = searched(Model(lambda step: 0.0))
    assert got["action"] == ""
    assert len({round(t["energy"], 9) for t in got["tried"]}) == 1


def test_groups_that_nobody_named_are_spared():
    model = Model(lambda step: 0.0)
    searched(model)
    assert {s.unit for s in model.asked} == {"", FIRE, "app.slice/small.service"}
    named = Model(lambda step: 0.0)
    searched(named, wish(units=("init.scope",), actions=("freeze",)))
    assert {s.unit for s in named.asked} == {"init.scope"}


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        ({"actions": ("frezee",)}, SettingError, "did you mean freeze"),
        ({"actions": ("kill",)}, NotReady, "never been measured"),
        ({"units": ("fire.servise",)}, NotFound, "did you mean fire.service"),
    ],
)
def test_what_may_not_be_proposed_is_refused_at_once(more, kind, said):
    aim = plan.understood(wish(**more), SERIES, ("*",))
    with pytest.raises(kind, match=said):
        plan.candidates(aim, samples())


def test_a_machine_without_groups_has_its_caches_alone():
    bare = samples(SERIES[:1])
    aim = plan.understood(wish(), bare.series, ("*",))
    assert plan.candidates(aim, bare) == [Candidate("drop_caches")]
    aim = plan.understood(wish(actions=("freeze",)), bare.series, ("*",))
    with pytest.raises(NotFound, match="nothing to propose"):
        plan.candidates(aim, bare)


def test_a_group_without_an_answer_is_passed_over():
    class Young(Model):
        async def __call__(self, step):
            if step.unit == FIRE or not step.unit:
                raise NotReady("too few samples")
            return await super().__call__(step)

    got = searched(Young(lambda step: 2e6))
    assert {t["unit"] for t in got["tried"]} == {"app.slice/small.service"}

    class Deaf(Model):
        async def __call__(self, step):
            raise NotReady("too few samples")

    with pytest.raises(NotReady, match="too few samples"):
        searched(Deaf(limit))


def test_an_engine_that_went_away_ends_the_plan():
    class Away(Model):
        async def __call__(self, step):
            if len(self.asked) > 3:
                raise EngineError("no answer within 3 s")
            return await super().__call__(step)

    with pytest.raises(EngineError):
        searched(Away(limit))


def test_a_series_without_a_forecast_is_not_ready():
    class Silent(Model):
        async def __call__(self, step):
            return await super().__call__(step) | {"series": ["other"]}

    with pytest.raises(NotReady, match="no forecast of mem"):
        searched(Silent(limit))


def test_values_stay_within_their_ranges():
    for span in RANGES.values():
        values = [span.value(at, GIB) for at in (0.0, 0.3, 1.0)]
        whole = GIB if span.of_memory else 1.0
        assert values == sorted(values)
        assert values[0] >= span.low * whole
        assert values[-1] <= span.high * whole
        at = math.log(span.gentle / span.low) / math.log(span.high / span.low)
        assert span.harsh(at) == pytest.approx(0)
        assert max(span.harsh(0), span.harsh(1)) == pytest.approx(1)

"""The model runs as often as its cost allows."""

from jepad.engine.pace import BUDGET_NS, PACES, Pace


def turns(pace, ticks):
    return [pace.due() for _ in range(ticks)]


def test_a_cheap_model_speaks_every_tick():
    pace = Pace()
    pace.note(BUDGET_NS // 2, BUDGET_NS // 10)
    assert turns(pace, 4) == [True] * 4


def test_a_dear_model_speaks_seldom():
    pace = Pace()
    pace.note(BUDGET_NS * 3, BUDGET_NS // 4)
    assert pace.every == 4
    assert turns(pace, 8) == [True, False, False, False] * 2


def test_no_model_is_too_dear_to_speak_at_all():
    pace = Pace()
    pace.note(BUDGET_NS * 10_000, BUDGET_NS * 2)
    assert pace.every == PACES[-1]
    assert sum(turns(pace, 3 * PACES[-1])) == 3


def test_fixed_pace_wins():
    pace = Pace(fixed=2)
    pace.note(BUDGET_NS * 100, 0)
    assert turns(pace, 4) == [True, False, True, False]


def test_a_cold_start_is_forgotten():
    pace = Pace()
    pace.note(BUDGET_NS * 50, BUDGET_NS * 50)
    for _ in range(4):
        pace.note(BUDGET_NS // 2, BUDGET_NS // 10)
    assert pace.every == 1

"""Questions about actions: which channels are asked about, in which words it is refused."""

import numpy as np
import pytest

from jepad.cli.options import ACTIONS
from jepad.engine import wire
from jepad.errors import NotFound, NotReady, SettingError
from jepad.heads.guesses import KINDS
from jepad.policy import question
from jepad.policy.question import Question, Samples, Step
from jepad.records import GAP, Series, Window

FIELDS = ("memory_current", "cpu_usage", "memory_pressure", "io_bytes")
UNITS = ("app.slice", "app.slice/fire.service", "system.slice/db.service", "user.slice/db.service")
HOST = (
    Series("cpu.busy", "tick/s", "gauge"),
    Series("cpu0.user", "tick/s", "gauge"),
    Series("mem.MemAvailable", "KiB", "gauge"),
    Series("mem.Cached", "KiB", "gauge"),
    Series("temp.cpu", "degC", "gauge"),
)
GROUPS = tuple(
    Series(f"cgroup.{u}.{f}", "B" if f == "memory_current" else "us/s", "gauge")
    for u in UNITS
    for f in FIELDS
)
USUAL = ("cpu.busy", "mem.MemAvailable", "gone")
FIRE = "app.slice/fire.service"


def samples(series=(*HOST, *GROUPS), steps=128):
    return Samples(series, np.ones((steps, len(series))), 1.0)


def put(*steps, domain="all", horizon_s=60, every=False, patterns=None, known=None):
    asked = Question(domain, steps, int(horizon_s * 1e6), every)
    return question.put(asked, known or samples(), USUAL, patterns or (domain,))


def freeze(unit=FIRE, after_us=0):
    return Step("freeze", unit, None, after_us)


def test_the_command_line_has_the_same_actions():
    assert ACTIONS == KINDS


def test_the_unit_comes_first_then_the_host_then_other_groups():
    asked = put(freeze())
    assert asked.names[:4] == [f"cgroup.{FIRE}.{f}" for f in FIELDS]
    assert {"cpu.busy", "mem.MemAvailable", "mem.Cached"} <= set(asked.names)
    assert "cgroup.app.slice.memory_current" in asked.names
    assert "cgroup.app.slice.io_bytes" not in asked.names
    assert "temp.cpu" not in asked.names
    assert asked.picks == tuple(range(len(asked.names)))
    assert asked.samples.values.shape == (128, len(asked.names))


@pytest.mark.parametrize(
    ("domain", "patterns", "picked"),
    [
        ("unit", None, {f"cgroup.{FIRE}.{f}" for f in FIELDS}),
        ("memory", ("mem.*", "psi.memory.*"), {"mem.MemAvailable", "mem.Cached"}),
        ("temp.*", None, {"temp.cpu"}),
        ("cpu.busy", None, {"cpu.busy"}),
        ("cgroup.*.io_bytes", None, {f"cgroup.{u}.io_bytes" for u in UNITS}),
    ],
)
def test_a_domain_picks_and_a_pattern_adds(domain, patterns, picked):
    asked = put(freeze(), domain=domain, patterns=patterns)
    assert {asked.names[i] for i in asked.picks} == picked


def test_never_more_channels_than_the_engine_takes():
    many = (*GROUPS, *HOST, *(Series(f"x.{i}", "", "gauge") for i in range(300)))
    asked = put(freeze(), domain="x.*", known=samples(many))
    assert len(asked.names) == wire.MAX_CHANNELS
    assert asked.names[asked.picks[0]] == "x.0"
    assert asked.names[0] == f"cgroup.{FIRE}.memory_current"


@pytest.mark.parametrize(
    "named", [FIRE, f"/{FIRE}", f"{FIRE}/", "fire.service", "app.slice/fire.service"]
)
def test_a_unit_by_its_path_or_its_last_part(named):
    assert put(freeze(named)).acts[0].unit == FIRE


@pytest.mark.parametrize(
    ("step", "kind", "said"),
    [
        (freeze("fire.servise"), NotFound, "did you mean fire.service?"),
        (freeze("fire"), NotFound, f"did you mean {FIRE}?"),
        (freeze("nothing at all"), NotFound, "jepactl what-if --units"),
        (freeze("db.service"), NotFound, "the end of 2 of them"),
        (freeze("../../etc/passwd"), NotFound, "no unit '../../etc/passwd'"),
        (freeze("a\x1b[2J\n\0" + "x" * 5000), NotFound, "no unit 'a__2J__xx"),
        (freeze("*"), NotFound, "no unit '_'"),
        (freeze(""), SettingError, "freeze wants a unit"),
        (Step("frezee", FIRE), SettingError, "did you mean freeze?"),
        (Step("x" * 5000, FIRE), SettingError, "Known: memory.high"),
        (Step("power.profile"), NotReady, "power.profile does has never been measured"),
        (Step("memory.high", FIRE), SettingError, "wants a value: bytes"),
        (Step("memory.high", FIRE, -1.0), SettingError, "memory.high"),
        (Step("memory.high", FIRE, float("inf")), SettingError, "memory.high"),
        (Step("memory.high", FIRE, float("nan")), SettingError, "memory.high"),
        (Step("memory.low", FIRE, 1e30), SettingError, "memory.low"),
        (Step("cpu.weight", FIRE, 0.5), SettingError, "1 to 10000"),
        (Step("cpu.weight", FIRE, 10001.0), SettingError, "1 to 10000"),
        (Step("freeze", FIRE, 3.0), SettingError, "freeze"),
        (Step("drop_caches", FIRE), SettingError, "drop_caches"),
    ],
)
def test_refusals_say_why_and_what_there_is(step, kind, said):
    with pytest.raises(kind) as caught:
        put(step)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


def test_a_machine_without_groups_says_so():
    with pytest.raises(NotFound, match="no group is watched"):
        put(freeze(), known=samples(HOST))
    assert put(Step("drop_caches"), known=samples(HOST)).acts == (wire.Act("drop_caches"),)


def test_a_domain_of_nothing_is_refused():
    for domain, patterns in (("gpu", ("gpu*",)), ("no.such.*", None)):
        with pytest.raises(NotFound, match="no series of"):
            put(freeze(), domain=domain, patterns=patterns)
    with pytest.raises(NotFound, match="no series of 'unit'"):
        put(Step("drop_caches"), domain="unit")


def kinds(asked):
    return [(a.kind, a.after) for a in asked.acts]


def test_actions_and_runs_between_them():
    thaw = Step("thaw", "fire.service", 0.0, 30_000_000)
    assert kinds(put(freeze(), thaw)) == [("freeze", 0), ("thaw", 30)]
    late = Step("thaw", FIRE, 0.0, 100_000_000)
    assert kinds(put(freeze(), late)) == [("freeze", 0), ("", 64), ("thaw", 36)]
    assert kinds(put(freeze(), Step("thaw", FIRE, 0.0, 64_000_000)))[1] == ("thaw", 64)
    assert kinds(put(freeze(), Step("thaw", FIRE, 0.0, 1)))[1] == ("thaw", 1)
    assert kinds(put(freeze(), horizon_s=64)) == [("freeze", 0)]
    assert kinds(put(freeze(), horizon_s=65)) == [("freeze", 0), ("", 64)]
    assert len(put(freeze(), horizon_s=256).acts) == 4


@pytest.mark.parametrize(
    "steps",
    [
        (freeze(), freeze(after_us=2**64 - 1)),
        (freeze(), *[freeze(after_us=10**6)] * 4),
        (freeze(), freeze(after_us=65_000_000), freeze(after_us=65_000_000)),
    ],
)
def test_too_far_is_refused_at_once(steps):
    with pytest.raises(SettingError, match="too far ahead: the model is run 4 times"):
        put(*steps)
    with pytest.raises(SettingError, match="too far ahead"):
        put(freeze(), horizon_s=30 * 86400)


def foreseen(asked, without, difference, usable=None):
    shape = (len(asked.names), 4, 3)
    without, difference = (
        np.broadcast_to(np.array(a, float), shape) for a in (without, difference)
    )
    packed = (wire.pack(a) for a in (without, without + difference, difference))
    flags = usable or (True,) * shape[0]
    return wire.Foreseen(1, *packed, (1.0, 4.0, 16.0, 64.0), flags, "ab" * 32, ("freeze",))


def test_an_answer_has_a_row_a_series():
    asked = put(freeze(), domain="unit", horizon_s=5)
    got = question.answer(asked, foreseen(asked, [4, 5, 6], [-2, -1, -0.5]), HOST)
    assert got["series"] == [f"cgroup.{FIRE}.{f}" for f in FIELDS]
    assert got["units"] == ["B", "us/s", "us/s", "us/s"]
    assert got["horizon_usec"] == 16_000_000
    assert got["without"][0] == [4, 5, 6]
    assert got["with"][0] == [2, 4, 5.5]
    assert got["difference"][0] == [-2, -1, -0.5]
    assert (got["unit"], got["part"], got["model"]) == (FIRE, "model", "ab" * 32)
    assert got["actions"] == ["freeze"]
    assert got["steps"] is None


def test_every_moment_on_request():
    asked = put(freeze(), domain="unit", every=True)
    steps = question.answer(asked, foreseen(asked, [4, 5, 6], [0, 0, 0]), HOST)["steps"]
    assert [s["horizon_usec"] for s in steps] == [10**6, 4 * 10**6, 16 * 10**6, 64 * 10**6]
    assert all(len(s["with"]) == 4 for s in steps)


def test_nothing_falls_by_more_than_there_is():
    asked = put(freeze(), domain="unit")
    got = question.answer(asked, foreseen(asked, [0.5, 1, 2], [-9, -5, 1]), HOST)
    assert got["with"][0] == [0, 0, 3]
    assert got["difference"][0] == [-2, -1, 1]


def test_processor_time_has_a_ceiling():
    asked = put(freeze(), domain="cpu.busy")
    got = question.answer(asked, foreseen(asked, [50, 60, 70], [10, 100, 900]), HOST)
    assert got["with"][0] == [60, 100, 100]
    assert got["difference"][0] == [10, 40, 50]


def test_series_with_too_few_samples_are_left_out():
    asked = put(freeze(), domain="unit")
    usable = (True, False, True, False, *[True] * (len(asked.names) - 4))
    got = question.answer(asked, foreseen(asked, [4, 5, 6], [0, 0, 0], usable), HOST)
    assert got["series"] == [f"cgroup.{FIRE}.{f}" for f in ("memory_current", "memory_pressure")]
    nothing = foreseen(asked, [4, 5, 6], [0, 0, 0], (False,) * len(asked.names))
    with pytest.raises(NotReady, match="no forecast: too few samples"):
        question.answer(asked, nothing, HOST)


def recorded(steps, flags=None, every_ns=10**9):
    series = (Series("a", "B", "counter"), Series("b", "B", "gauge"))
    n = np.arange(float(steps))
    values = np.stack([n * 10, n], 1)
    made = np.zeros(steps, np.uint32) if flags is None else flags
    return Window(series, (n * every_ns).astype(np.int64), values, made, steps - 1)


def test_samples_are_rates_by_the_second():
    got = question.sampled(recorded(200), 1, 1.0)
    assert got.values.shape == (128, 2)
    assert got.series[0].unit == "B/s"
    assert (got.values[:, 0] == 10).all()
    fast = question.sampled(recorded(300, every_ns=10**8), 10, 1.0)
    np.testing.assert_allclose(fast.values[1:, 0], 100)
    assert fast.values[-1, 1] == 299
    assert len(fast.values) == 30


def test_a_gap_between_two_steps_is_no_rate():
    flags = np.zeros(40, np.uint32)
    flags[33] = GAP
    got = question.sampled(recorded(40, flags), 10, 10.0)
    assert np.isnan(got.values[:, 0]).tolist() == [True, False, False, True]


def test_absurd_values_are_unknown():
    window = recorded(40)
    window.values[7, 1], window.values[8, 1] = 1e19, -np.inf
    assert np.isnan(question.sampled(window, 1, 1.0).values[7:9, 1]).all()
    assert question.sampled(recorded(1), 1, 1.0).values.shape == (1, 2)
    with pytest.raises(NotReady, match="no sample"):
        question.sampled(recorded(0), 1, 1.0)

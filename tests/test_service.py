"""Answers, and refusals that say what there is instead."""

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepad import config
from jepad.engine.client import EngineClient
from jepad.errors import EngineError, NotFound, NotReady, RingError, SettingError
from jepad.outlook import Outlook
from jepad.policy.alerts import Alerts
from jepad.policy.goal import Wish
from jepad.policy.jobs import Owner
from jepad.policy.question import Question, Step
from jepad.policy.sight import Sight
from jepad.records import Risk, Sample, Series, SourceState
from jepad.service import Parts, Service
from jepad.telemetry import Telemetry


class Machine:
    """Two series that only move in time."""

    series = (Series("cpu.busy", "tick", "counter"), Series("mem.MemAvailable", "KiB", "gauge"))
    states = (SourceState("cpu", "ok", 2, 1e-4, 5, 1, "stat: short"),)

    def __init__(self):
        self.n = 0

    def take(self):
        self.n += 1
        return Sample(self.n * 10**9, np.array([self.n * 20.0, 8e6 - self.n]))

    def redescribe(self):
        return False


@pytest.fixture
def parts(prefix):
    telemetry = Telemetry(Machine(), prefix, config.Ring(telemetry_slots=256), 1.0)

    async def reload():
        raise SettingError("no")

    yield Parts(
        prefix=prefix,
        telemetry=telemetry,
        outlook=Outlook(prefix, ["*"], 1.0),
        alerts=Alerts(config.Risk()),
        engine=None,
        engine_state=lambda: "restarting",
        engine_reason=lambda: "exit code 4",
        reload=reload,
        sight=Sight(None, lambda: False),
    )
    telemetry.retire()


@pytest.fixture
def service(parts):
    for _ in range(40):
        parts.telemetry.tick()
    parts.outlook.update(parts.telemetry.window(64))
    return Service(parts)


def test_before_the_first_forecast(parts):
    service = Service(parts)
    assert service.state() == "starting"
    with pytest.raises(NotReady, match="no forecast yet"):
        service.predict("cpu", 0, {})
    assert service.forecasts() == []
    assert json.loads(service.describe())["state"] == "starting"
    assert "none yet" in service.status_text(False)


def test_predict_by_domain_series_and_pattern(service):
    for asked in ("cpu", "cpu.busy", "cpu.*"):
        got = service.predict(asked, 60_000_000, {})
        assert got["series"] == ["cpu.busy"]
        assert got["units"] == ["tick/s"]
        assert got["horizon_usec"] == 64_000_000
        assert got["p10"][0] <= got["p50"][0] <= got["p90"][0]
        assert (got["part"], got["parts"], got["weights"]) == ("baseline", ["baseline"], [0.0])
        assert got["silent"] == []
        assert np.isnan(got["confidence"])  # nothing fell due yet
    assert service.predict("memory", 0, {})["horizon_usec"] == 1_000_000


def test_a_series_without_samples_has_no_forecast_and_says_so(prefix, parts):
    class Half(Machine):
        def take(self):
            sample = super().take()
            sample.values[1] = np.nan if self.n < 37 else 8e6
            return sample

    parts.telemetry.retire()
    half = replace(
        parts, telemetry=Telemetry(Half(), prefix, config.Ring(telemetry_slots=256), 1.0)
    )
    service = Service(half)

    def predicted(seconds):
        for _ in range(seconds):
            half.telemetry.tick()
        half.outlook.update(half.telemetry.window(64))
        return service.predict("mem.MemAvailable", 0, {})

    with pytest.raises(NotReady, match=r"^no forecast: mem.MemAvailable has no samples$"):
        predicted(36)
    with pytest.raises(
        NotReady, match=r"no forecast: mem.MemAvailable has 4 samples lately, 8 are"
    ):
        predicted(4)
    assert {row[0] for row in service.forecasts()} == {"cpu.busy"}
    got = service.predict("*", 0, {})
    assert (got["series"], got["silent"]) == (["cpu.busy"], ["mem.MemAvailable"])
    assert predicted(4)["p50"] == [pytest.approx(8e6)]
    half.telemetry.retire()


def test_refusals_say_what_there_is(service):
    with pytest.raises(NotFound, match="Domains: cpu, memory"):
        service.predict("cpus", 0, {})
    with pytest.raises(NotFound, match="nothing of domain 'gpu'"):
        service.predict("gpu", 0, {})
    with pytest.raises(SettingError, match="beyond the longest forecast, 10m40s"):
        service.predict("cpu", 10**10, {})
    with pytest.raises(SettingError, match="unknown option 'colour'"):
        service.predict("cpu", 0, {"colour": 1})
    with pytest.raises(NotFound, match="There are: telemetry"):
        service.open_stream("../../etc/passwd")
    with pytest.raises(NotReady, match="no engine"):
        asyncio.run(service.embed(np.zeros((4, 1)), ["a"], 1.0))
    asked = Question("memory", (Step("drop_caches"),))
    with pytest.raises(NotReady, match="no engine"):
        asyncio.run(service.predict_action(asked))


def ask(parts, question):
    """A question to a service whose engine nobody started."""

    async def run():
        async with EngineClient(f"ipc:///tmp/{parts.prefix}.sock") as client:
            asked = Service(replace(parts, engine=client))
            return await asked.predict_action(question)

    return asyncio.run(run())


def test_a_plan_is_a_job_that_ends_with_what_the_engine_said(service, parts):
    wish = Wish("memory", ("mem.MemAvailable >= 4GiB",), 64_000_000)

    async def run():
        async with EngineClient(f"ipc:///tmp/{parts.prefix}.sock") as client:
            planner = Service(replace(parts, engine=client))
            job = planner.plan(Owner(0, ":1.1"), wish)
            while planner.jobs.get(job.id).state == "running":
                await asyncio.sleep(0.05)
            return planner.jobs.get(job.id)

    job = asyncio.run(run())
    assert job.state == "failed"
    assert isinstance(job.error, EngineError)


@pytest.mark.parametrize(
    ("domain", "want", "kind", "said"),
    [
        ("memory", "mem.MemAvailible >= 1", NotFound, "did you mean mem.MemAvailable"),
        ("memory", "cpu.busy <= 1", NotFound, "in this domain"),
        ("memory", "cpu.busy", SettingError, "is no condition"),
        ("mem.*", "mem.MemAvailable >= 4 MiB/s", SettingError, "is no unit"),
    ],
)
def test_a_goal_that_cannot_be_is_refused_without_a_job(service, parts, domain, want, kind, said):
    async def run():
        async with EngineClient(f"ipc:///tmp/{parts.prefix}.sock") as client:
            planner = Service(replace(parts, engine=client))
            with pytest.raises(kind, match=said):
                planner.plan(Owner(0, ":1.1"), Wish(domain, (want,), 0))
            return planner.jobs.held_by(":1.1")

    assert asyncio.run(run()) is False
    with pytest.raises(NotReady, match="no engine"):
        service.plan(Owner(0, ":1.1"), Wish("all", ("cpu.busy <= 1",), 0))


def test_without_a_model_of_pictures_it_is_said_how_to_get_one(service):
    with pytest.raises(NotReady, match="Set model of"):
        service.scenes()
    assert json.loads(service.describe())["scene"] is None


def test_what_cannot_be_asked_is_refused_without_the_engine(service, parts):
    for question, kind, said in (
        (Question("cpu", (Step("frezee"),)), SettingError, "did you mean freeze"),
        (Question("cpu", (Step("freeze", "x"),)), NotFound, "no group is watched"),
        (Question("gpu", (Step("drop_caches"),)), NotFound, "no series of 'gpu'"),
        (Question("cpu", (Step("drop_caches"),), 10**10), SettingError, "too far ahead"),
    ):
        with pytest.raises(kind, match=said):
            ask(parts, question)
    assert json.loads(service.describe())["units"] == []


def test_an_engine_that_is_away_is_an_error_of_its_own(service, parts):
    with pytest.raises(EngineError, match="no answer within"):
        ask(parts, Question("cpu", (Step("drop_caches"),)))


def test_no_forecast_yet_is_no_answer_yet(parts):
    with pytest.raises(NotReady, match="no forecast yet"):
        ask(parts, Question("cpu", (Step("drop_caches"),)))


def test_a_file_of_somebody_else_beside_our_streams_breaks_nothing(service, prefix):
    Path(f"/dev/shm/{prefix}.evil").write_bytes(os.urandom(5000))
    rows = {row["name"]: row for row in json.loads(service.describe())["streams"]}
    assert rows["telemetry"]["state"] == "live"
    assert rows["evil"]["state"].startswith("unreadable")
    with pytest.raises(RingError):
        service.open_stream("evil")


def test_a_stream_is_handed_over_read_only(service):
    fd = service.open_stream("telemetry")
    try:
        with pytest.raises(OSError, match=r"Bad file|not permitted"):
            os.write(fd, b"x")
    finally:
        os.close(fd)


def test_status_shows_risks_sources_and_forecasts(service):
    service.take([Risk("memory", 0.91, 28.0, 60.0, "app.slice", "MemFree falls")])
    text = service.status_text(colour=False)
    assert "degraded (observe)" in text
    assert "Engine: exit code 4" in text
    assert "Risk: memory 91% in 28s [app.slice]: MemFree falls" in text
    assert "mem.MemAvailable" in text
    assert "\033" not in text
    assert "\033[33m●" in service.status_text(colour=True)
    got = json.loads(service.describe())
    assert got["sources"][0]["failures"] == 1
    assert got["risks"][0]["eta_s"] == 28.0
    assert got["streams"][0]["name"] == "telemetry"
    assert len(service.forecasts()) == 2 * 6


def test_world_state_points_to_the_streams(service):
    got = service.world_state()
    assert got["embedding_stream"] == "embeddings.machine"
    assert got["part"] == "baseline"
    assert got["anomaly_series"] == []


def test_who_spoke_is_told_a_series(service, parts):
    said = parts.outlook.latest
    weight = np.array([[0.0], [0.5]], np.float32).repeat(said.weight.shape[1], 1)
    parts.outlook.latest = replace(said, weight=weight, model_digest="ab" * 32)
    got = service.predict("*", 0, {})
    assert (got["part"], got["parts"]) == ("blend", ["baseline", "blend"])
    assert got["weights"] == [0.0, 0.5]


def test_an_anomaly_is_told_with_its_series_when_it_is_one(service, parts):
    assert "Anomaly" not in service.status_text(False)
    said = parts.outlook.latest
    causes = ("mem.MemAvailable", "cpu.busy")
    parts.outlook.latest = replace(said, surprise=4.9, causes=causes)
    assert "Anomaly" not in service.status_text(False)
    parts.outlook.latest = replace(said, surprise=6.2, causes=causes)
    line = "   Anomaly: 6.2 above usual: mem.MemAvailable, cpu.busy"
    assert line in service.status_text(False).splitlines()
    assert service.world_state()["anomaly_series"] == list(causes)
    told = json.loads(service.describe())
    assert (told["anomaly_score"], told["anomaly_series"]) == (6.2, list(causes))

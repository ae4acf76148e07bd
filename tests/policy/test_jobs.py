"""Jobs: their limits, their end, and that nothing is left of them."""

import asyncio

import pytest

from jepad.errors import JepadError, NotFound, RateLimited
from jepad.policy.jobs import MAX_KEPT_OF_ONE, Jobs, Listener, Owner

ME, ALSO_ME, OTHER = Owner(1, ":1.1"), Owner(1, ":1.2"), Owner(2, ":1.3")


async def for_ever(report):
    report(0.5, "half")
    await asyncio.Event().wait()


async def at_once(report):
    report(0.5, "half")
    await asyncio.sleep(0)
    return {"x": 1}


def watched(jobs):
    told = []
    jobs.subscribe(
        Listener(
            lambda job: told.append(("began", job.id, job.state)),
            lambda job: told.append((f"{job.percent} {job.words}", job.id, job.state)),
            lambda job: told.append(("gone", job.id, job.state)),
        )
    )
    return told


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def test_a_life():
    async def body():
        jobs = Jobs()
        told = watched(jobs)
        job = jobs.start(ME, at_once)
        assert (job.state, jobs.held_by(":1.1"), jobs.held_by(":1.2")) == ("running", True, False)
        await until(lambda: jobs.get(job.id).state != "running")
        done = jobs.get(job.id)
        jobs.cancel(job.id)
        assert (done.result, done.error, jobs.get(job.id)) == ({"x": 1}, None, done)
        jobs.close()
        assert told == [
            ("began", 1, "running"), ("50 half", 1, "running"), ("100 half", 1, "done"),
            ("gone", 1, "done"),
        ]  # fmt: skip
        with pytest.raises(NotFound):
            jobs.get(job.id)

    asyncio.run(body())


def test_failures_are_kept_and_told():
    async def body():
        jobs = Jobs()

        async def wrong(_report):
            raise NotFound("no such series")

        async def broken(_report):
            raise ZeroDivisionError

        first, second = jobs.start(ME, wrong), jobs.start(ME, broken)
        await until(lambda: jobs.get(second.id).state == jobs.get(first.id).state == "failed")
        assert str(jobs.get(first.id).error) == "no such series"
        assert isinstance(jobs.get(second.id).error, ZeroDivisionError)

    asyncio.run(body())


def test_it_may_not_run_for_ever():
    async def body():
        jobs = Jobs(longest_s=0.01)
        job = jobs.start(ME, for_ever)
        await until(lambda: jobs.get(job.id).state == "failed")
        assert "more than 0.01 s" in str(jobs.get(job.id).error)
        assert isinstance(jobs.get(job.id).error, JepadError)

    asyncio.run(body())


def test_a_timeout_of_the_work_itself_is_no_end_of_its_time():
    async def body():
        async def late(_report):
            raise TimeoutError

        jobs = Jobs()
        job = jobs.start(ME, late)
        await until(lambda: jobs.get(job.id).state == "failed")
        assert isinstance(jobs.get(job.id).error, TimeoutError)

    asyncio.run(body())


def test_it_is_forgotten_after_a_while():
    async def body():
        jobs = Jobs(kept_s=0.01)
        told = watched(jobs)
        jobs.start(ME, at_once)
        await until(lambda: told[-1] == ("gone", 1, "done"))

    asyncio.run(body())


def test_limits():
    async def body():
        jobs = Jobs()
        mine = [jobs.start(ME, for_ever), jobs.start(ALSO_ME, for_ever)]
        with pytest.raises(RateLimited, match="retry-after"):
            jobs.start(ME, for_ever)
        jobs.start(OTHER, for_ever)
        jobs.start(OTHER, for_ever)
        with pytest.raises(RateLimited):
            jobs.start(Owner(3, ":1.9"), for_ever)
        jobs.cancel(mine[0].id)
        assert jobs.start(ME, for_ever).id == 5
        jobs.close()

    asyncio.run(body())


def test_ended_ones_are_few():
    async def body():
        jobs = Jobs()
        for _ in range(MAX_KEPT_OF_ONE + 3):
            job = jobs.start(ME, at_once)
            await until(lambda n=job.id: jobs.get(n).state == "done")
        with pytest.raises(NotFound):
            jobs.get(3)
        assert jobs.get(4).state == "done"

    asyncio.run(body())


def test_whoever_leaves_takes_the_jobs_along_and_ends_the_work():
    async def body():
        jobs, ended = Jobs(), asyncio.Event()

        async def work(_report):
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        jobs.start(ME, work)
        other = jobs.start(ALSO_ME, for_ever)
        await asyncio.sleep(0)
        jobs.leave(":1.1")
        await ended.wait()
        with pytest.raises(NotFound):
            jobs.get(1)
        assert jobs.get(other.id).state == "running"
        jobs.leave(":1.2")

    asyncio.run(body())


def test_work_that_ends_after_it_was_cancelled_changes_nothing():
    async def body():
        async def stubborn(report):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                report(0.9, "still here")
                return {"late": True}

        jobs = Jobs()
        job = jobs.start(ME, stubborn)
        await asyncio.sleep(0)
        jobs.cancel(job.id)
        for _ in range(5):
            await asyncio.sleep(0)
        assert jobs.get(job.id).state == "cancelled"
        assert jobs.get(job.id).result is None

    asyncio.run(body())

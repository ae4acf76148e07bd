"""Shared fixtures, and the rule that a skip nobody expected fails the run."""

import os
import signal
import uuid
from pathlib import Path

import pytest

from tests.running import PREFIXES

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started as a shell's background job: what the tests start must be deaf to Ctrl-C no more.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def prefix():
    """A shared-memory prefix of this test alone; its objects are removed afterwards."""
    name = f"jepad-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    yield name
    for entry in os.listdir("/dev/shm"):
        if entry.startswith(name):
            os.unlink(f"/dev/shm/{entry}")


@pytest.fixture(scope="session", autouse=True)
def swept():
    """Streams outlive their daemon by design; those of the tests' daemons go at the end."""
    yield
    for prefix in PREFIXES:
        for left in Path("/dev/shm").glob(f"{prefix}*"):
            left.unlink()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn an unexpected skip into a failure."""
    outcome = yield
    report = outcome.get_result()
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and not item.get_closest_marker("may_skip")
    ):
        report.outcome = "failed"
        report.longrepr = f"unexpected skip of {item.nodeid}: {report.longrepr}"

"""What an end means, what a child inherits, when silence is too long. (The rest: the engines'.)"""

import pytest

from jepad.errors import TooLarge
from jepad.worker.keeper import Silence, environment, meaning


@pytest.mark.parametrize(
    ("code", "said"),
    [(0, "exit code 0"), (-9, "killed by signal 9 (Killed)"), (TooLarge.exit_code, "memory")],
)
def test_an_end_in_words(code, said):
    assert said in meaning(code)


def test_the_service_manager_knows_us_and_not_our_child(monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    monkeypatch.setenv("KEPT", "yes")
    made = environment({"OMP_NUM_THREADS": "4"})
    assert made["KEPT"] == "yes"
    assert made["OMP_NUM_THREADS"] == "4"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_PID"} & set(made)


def test_silence():
    silence = Silence(0)
    assert not silence.silent(4, 5)
    assert silence.silent(6, 5) == "no answer for 6 s"
    silence.answered(6)
    assert not silence.silent(10, 5)

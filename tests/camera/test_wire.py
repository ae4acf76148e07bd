"""What a camera says."""

import typing

import pytest

from jepad.camera import wire
from jepad.errors import EngineError
from jepad.worker.tongue import Refused, encode

SEEN = wire.Seen(
    7, name="a", state="running", reason="", source="file:/a", kind="file", size=224, fps=4.0,
    width=1, height=1, rate=1.0, codec="h264", position_s=0.0, length_s=0.0, behind_s=0.0,
    counts=dict.fromkeys(wire.COUNTS, 1 << 40), filters=("zones",), filter_state="", present=True,
    presence=1.0, surprise=0.5, surprising=False, barriers=("limits",),
)  # fmt: skip


@pytest.mark.parametrize("said", [SEEN, wire.Pong(1, "waiting", 5), Refused(1, "a", "b")])
def test_replies_go_through(said):
    assert wire.TONGUE.read_reply(encode(said)) == said
    assert len(encode(said)) < wire.TONGUE.largest_reply


@pytest.mark.parametrize("kind", typing.get_args(wire.Request))
def test_requests_go_through(kind):
    asked = kind(1, 2)
    assert wire.TONGUE.read_request(encode(asked)) == asked
    with pytest.raises(EngineError):
        wire.TONGUE.read_request(encode(SEEN))


def test_nothing_is_said_to_be_learned():
    assert not SEEN.learned


def test_socket():
    assert wire.socket_name("door") == "camera-door"

"""Where a model is asked: what is chosen, and that descriptors come and go."""

import os

import numpy as np
import pytest

from jepad.cli.bus import Client
from jepad.cli.video import scenes
from jepad.errors import EngineError, NotFound
from jepad.models import library
from tests.scene.made import install

CLIP = np.arange(2 * 32 * 32 * 3).astype(np.uint8).reshape(2, 32, 32, 3)


def test_frames_go_and_embeddings_come_as_descriptors(served):
    served()
    with scenes.opened("session", None) as scene:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):  # the peer refuses the second once
            values = scene.embed(CLIP, "mean").values
            assert values.tolist() == pytest.approx([2, 32, CLIP.mean()])
        assert len(os.listdir("/proc/self/fd")) == before
    assert scene.about.where == "the daemon (session bus)"
    assert not scene.about.alone


def test_descriptors_nobody_asked_for_are_closed(served):
    served()
    client = Client("session")
    with scenes._files(CLIP) as files:
        options = {"pool": ("s", "mean")}
        target = ("org.jepad1", "/org/jepad1", "org.jepad1.WorldModel", "EmbedFrames")
        client.connection.exchange(target, "va{sv}", (("h", 0), options), files)
    message = client.exchange("/org/jepad1", ("org.jepad1.Manager", "Describe"), "", ())
    assert message.files == []


def test_only_the_model_that_is_wanted_is_asked_of_the_daemon(served, tmp_path):
    served()
    with pytest.raises(NotFound, match="other"), scenes.opened("session", "other"):
        pass


def test_which_of_several_must_be_said(environment, tmp_path):
    root = library.library(str(tmp_path / "state/jepad"))
    for preset in ("vitl-256", "vitl-384-2.1"):
        install(root, preset)
    wanted = r"--model: vitl-256, vitl-384-2.1, toy"
    with pytest.raises(NotFound, match=wanted), scenes.opened("session", None):
        pass


def test_an_answer_that_is_no_array_is_an_error():
    fd = os.memfd_create("x")
    os.write(fd, b"no array")
    files = [fd]
    with pytest.raises(EngineError, match="can't be read"):
        scenes._arrays(files)
    assert files == []


def test_what_is_sent_can_not_be_changed():
    with scenes._files(CLIP) as (file,):
        assert np.array_equal(scenes._arrays([os.dup(file)])[0], CLIP)
        with pytest.raises(OSError, match="not permitted"):
            os.write(file, b"x")
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(file)


@pytest.mark.parametrize(
    ("state", "error", "kind", "said"),
    [("failed", ("org.jepad1.Error.NotFound", "nowhere"), NotFound, "nowhere"),
     ("cancelled", ("", ""), EngineError, "the plan was cancelled"),
     ("failed", ("org.example.New", "new"), EngineError, "new")],
)  # fmt: skip
def test_how_a_plan_ended(state, error, kind, said):
    found = scenes._failed(state, error)
    assert type(found) is kind
    assert str(found) == said

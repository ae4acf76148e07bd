"""A model by path and digest, in a thread that may fail or hang."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from jepad.camera.filters import detector
from jepad.errors import EngineError, ModelError
from tests.camera.filters import glowing

VIEW = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "faces.onnx"
    return str(path), glowing.write(path)


def test_it_finds_what_glows(model):
    view = VIEW.copy()
    view[16:24, 40:48] = 255
    found = detector.load(*model, 0.6)(view)
    assert np.allclose(found.boxes, [np.array([40, 16, 48, 24]) / 64])
    assert found.scores.tolist() == [1]


def test_another_file_than_was_meant_is_refused(model):
    with pytest.raises(ModelError, match="SHA-256"):
        detector.load(model[0], "0" * 64, 0.6)
    with pytest.raises(ModelError, match="has no SHA-256"):
        detector.load(model[0], "", 0.6)


def test_no_file_a_pipe_and_a_directory_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.onnx", "pipe", "."):
        with pytest.raises(ModelError, match="face model"):
            detector.load(str(tmp_path / name), "0" * 64, 0.6)
    with pytest.raises(ModelError, match="not a face model"):
        detector.load("/dev/zero", "0" * 64, 0.6)


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "other.onnx"
    digest = glowing.write(path, outputs=("cls", "obj"))
    with pytest.raises(ModelError, match="bbox_8 is missing"):
        detector.load(str(path), digest, 0.6)


def test_bytes_that_are_no_network_are_refused(tmp_path):
    path = tmp_path / "noise.onnx"
    path.write_bytes(b"\x08\x07garbage")
    import hashlib

    with pytest.raises(ModelError, match="not a model"):
        detector.load(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), 0.6)


def test_an_error_is_told_and_the_next_frame_is_another_chance():
    answers = [ZeroDivisionError("no"), {"a": VIEW}]

    def work(_view):
        said = answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    aside = detector.Aside(work)
    with pytest.raises(EngineError, match="failed: no"):
        aside.ask(VIEW, 60)
    assert aside.ask(VIEW, 60) == {"a": VIEW}


def test_a_slow_detector_is_not_waited_for_and_its_late_answer_is_no_later_frames():
    go, done = threading.Event(), threading.Event()
    answers = iter("ab")

    def work(_view):
        said = next(answers)
        if said == "a":
            go.wait(60)
            done.set()
        return {said: VIEW}

    aside = detector.Aside(work)
    with pytest.raises(EngineError, match="took longer"):
        aside.ask(VIEW, 0.01)
    with pytest.raises(EngineError, match="still busy"):
        aside.ask(VIEW, 60)
    go.set()
    done.wait(60)
    while True:
        try:
            assert aside.ask(VIEW, 60) == {"b": VIEW}
            break
        except EngineError:  # its answer is not in the queue yet
            continue


def test_a_detector_that_hangs_keeps_no_process_from_ending():
    code = (
        "import threading, numpy as np\n"
        "from jepad.camera.filters.detector import Aside\n"
        "from jepad.errors import EngineError\n"
        "aside = Aside(lambda view: threading.Event().wait())\n"
        "try: aside.ask(np.zeros((8, 8, 3), np.uint8), 0.01)\n"
        "except EngineError: print('slow')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "slow\n")


def test_numbers_of_the_first_run_that_are_none_are_refused():
    with pytest.raises(EngineError, match="cls_8"):
        detector.Detector(lambda _view: {}, 0.5)

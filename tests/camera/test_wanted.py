"""What a camera's process is told: its own options before the settings of all."""

import os
import stat

import pytest

from jepad import config
from jepad.camera import settings, wanted
from jepad.errors import SettingError
from jepad.guard.consent import Camera


def made(options=None, section=None, model="", state="/nowhere"):
    camera = Camera("a", "file:/a", "file:/a", options=options or {})
    return wanted.settings_of(
        camera, "file:/a", config.parse({"camera": section or {}, "scene": {"model": model}}), state
    )


def test_without_a_word_it_is_the_default():
    assert made() == settings.CameraSettings(source="file:/a")


def test_its_own_options_go_first():
    got = made({"fps": 2.0, "filters": ["pixelate"]}, {"fps": 8.0, "retention_min": 3.0})
    assert (got.fps, got.retention_min, got.filters) == (2.0, 3.0, ("pixelate",))


def test_a_small_model_or_one_that_is_not_there_leaves_the_size_alone():
    assert made(model="toy").size == 224
    assert made(model="gone").size == 224
    assert made({"size": 128}, model="toy").size == 128
    assert made(section={"size": 96}).size == 96


@pytest.mark.parametrize(
    ("options", "words"),
    [({"fps": "x"}, "^fps: "), ({"no": 1}, "no"), ({"filters": ["x"]}, "filters")],
)
def test_an_option_that_cannot_be_used_is_named(options, words):
    with pytest.raises(SettingError, match=words):
        wanted.options_of(options, "file:/a")


def test_the_file_is_its_processes_alone_and_read_as_it_was_written(tmp_path):
    path = wanted.path_of(str(tmp_path), "a")
    (tmp_path / f"camera-a.json.{os.getpid()}").symlink_to("/etc/passwd")
    wanted.write(path, made({"fps": 2.0}))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert settings.read(path) == made({"fps": 2.0})
    assert os.listdir(tmp_path) == ["camera-a.json"]
    with pytest.raises(SettingError, match="cannot write"):
        wanted.write(f"{tmp_path}/none/x", made())

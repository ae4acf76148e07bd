"""Settings of a camera: bounds, and the file that carries them."""

import os

import pytest

from jepad.camera import settings
from jepad.camera.settings import CameraSettings
from jepad.errors import SettingError


def test_what_is_written_is_read_again():
    zone = ((0.0, 0.1), (0.5, 1.0))
    made = CameraSettings(source="file:/a", fps=8, filters=("zones", "faces"), zones=(zone,))
    assert settings.parsed(settings.written(made)) == made
    assert b"retention" not in settings.written(made)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"size": 224}',
        b'{"source": ""}',
        b'{"source": "a", "size": 225}',
        b'{"source": "a", "size": 1024}',
        b'{"source": "a", "fps": 0}',
        b'{"source": "a", "fps": 1e9}',
        b'{"source": "a", "filters": ["magic"]}',
        b'{"source": "a", "zones": [[[0, 0]]]}',
        b'{"source": "a", "zones": [[[0, 0], [2, 1]]]}',
        b'{"source": "a", "faces_sha256": "abc"}',
        b'{"source": "a", "unknown": 1}',
        b"[" * 5000,
    ],
)
def test_nonsense_is_refused_in_words(text):
    with pytest.raises(SettingError, match="camera's settings"):
        settings.parsed(text)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_a_file_that_others_see_is_refused(tmp_path, mode):
    path = tmp_path / "camera.json"
    path.write_text('{"source": "lavfi:testsrc"}')
    path.chmod(mode)
    with pytest.raises(SettingError, match="chmod 600"):
        settings.read(str(path))


def test_a_file_of_ours_is_read(tmp_path):
    path = tmp_path / "camera.json"
    path.write_text('{"source": "lavfi:testsrc"}')
    path.chmod(0o600)
    assert settings.read(str(path)).source == "lavfi:testsrc"
    os.symlink(path, tmp_path / "link")
    for other in ("link", "none", "."):
        with pytest.raises(SettingError):
            settings.read(str(tmp_path / other))


def test_names():
    assert settings.named("front_door2") == "front_door2"
    for name in ("", "_a", "A", "a-b", "a.b", "a/b", "a" * 33, "a\n"):
        with pytest.raises(SettingError):
            settings.named(name)

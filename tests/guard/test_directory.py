"""A runtime directory another user could have laid out for us is refused."""

import os
import stat

import pytest

from jepad.errors import SettingError
from jepad.guard.directory import own, shared


def test_it_is_made_for_us_alone(tmp_path):
    own(str(tmp_path / "a" / "b"))
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_an_open_one_of_ours_is_closed(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    own(str(tmp_path / "open"))
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_links_and_files_are_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").write_text("")
    for name in ("link", "file", "file/below"):
        with pytest.raises(SettingError, match="XDG_RUNTIME_DIR"):
            own(str(tmp_path / name))


def test_what_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="systemctl start jepad"):
        shared(str(tmp_path / "file" / "below"))


@pytest.mark.may_skip("giving a directory away needs root")
def test_somebody_elses_is_refused(tmp_path):
    if os.geteuid():
        pytest.skip("not root")
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(SettingError, match="somebody else"):
        own(str(tmp_path / "theirs"))

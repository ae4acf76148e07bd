"""From flags to a camera: what is refused before anything is built."""

import sys

import pytest

from jepad.camera.__main__ import main


def test_a_name_that_is_none(tmp_path, capsys):
    assert main(["--name", "../x", "--runtime", str(tmp_path)]) == 2
    assert "can't name a camera" in capsys.readouterr().err


def test_no_settings(tmp_path, capsys):
    assert main(["--name", "a", "--runtime", str(tmp_path)]) == 2
    assert "camera-a.json" in capsys.readouterr().err


def test_without_pyav_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    path = tmp_path / "camera-a.json"
    path.write_text('{"source": "lavfi:testsrc"}')
    path.chmod(0o600)
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(["--name", "a", "--runtime", str(tmp_path)]) == 2
    assert "jepad[video]" in capsys.readouterr().err


def test_help(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    assert "exit codes" in capsys.readouterr().out

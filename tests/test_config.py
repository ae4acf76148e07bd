"""Settings: exact paths, suggestions, bounds; a bad file is an error, a missing one is not."""

import pytest

from jepad import config
from jepad.errors import SettingError


def load(tmp_path, text):
    path = tmp_path / "jepad.toml"
    path.write_text(text)
    return config.load(str(path))


def test_defaults_without_a_file(tmp_path):
    assert config.load(str(tmp_path / "none.toml")) == config.Config()


def test_a_file_asked_for_must_exist(tmp_path):
    with pytest.raises(SettingError, match=r"none\.toml: no such file"):
        config.load(str(tmp_path / "none.toml"), required=True)


def test_settings_are_read(tmp_path):
    got = load(tmp_path, "[daemon]\ninterval_s = 0.5\n[sources]\ndisable = ['gpu']\n")
    assert got.daemon.interval_s == 0.5
    assert got.sources.disable == ("gpu",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[daemon]\nintervl_s = 1", r"daemon\.intervl_s: unknown.*did you mean daemon\.interval_s"),
        ("[deamon]\n", r"deamon: unknown setting; did you mean daemon"),
        ("[daemon]\ninterval_s = 'x'", r"daemon\.interval_s: Expected `float`, got `str`"),
        ("[daemon]\ninterval_s = 0.001", r"daemon\.interval_s: Expected `float` >= 0\.1"),
        ("[risk]\nclear_at = 0.9", r"risk\.clear_at must be below risk\.raise_at"),
        ("[ring]\ntelemetry_slots = 1000", r"ring\.telemetry_slots: 1000 is not a power of two"),
        ("[scene]\nmodel = '../x'", r"scene\.model: Expected `str` matching"),
        ("[scene]\nmodle = 'toy'", r"scene\.modle: unknown.*did you mean scene\.model"),
        ("[scene]\ndevice = 'tpu'", r"scene\.device: Expected `str` matching"),
        ("[scene]\nprecision = 'int4'", r"scene\.precision: Expected `str` matching"),
        ("[scene]\nmemory_max_bytes = -1", r"scene\.memory_max_bytes: Expected `int` >= 0"),
        ("[daemon\n", r"not TOML"),
        ("\x00", r"not TOML"),
    ],
)
def test_bad_settings_name_the_path(tmp_path, text, message):
    with pytest.raises(SettingError, match=message) as caught:
        load(tmp_path, text)
    assert caught.value.exit_code == 2
    assert "jepad.toml" in str(caught.value)


def test_not_utf8_and_a_directory(tmp_path):
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "bad.toml", tmp_path):
        with pytest.raises(SettingError):
            config.load(str(path))


def test_every_setting_is_documented():
    rows = list(config.settings())
    assert len(rows) >= 10
    assert all(words for *_, words in rows)

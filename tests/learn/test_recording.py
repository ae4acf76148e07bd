"""Every line of a recording is a row of numbers, or is named."""

import gzip

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.learn.recording import table

GOOD = b"t,a,wl,label.x\n1,2,idle,9\n2,,idle,\n3,4,busy,9\n4,5,busy,9\n"


def written(tmp_path, content, pack=True):
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(content) if pack else content)
    return str(path)


def test_numbers_alone_are_read(tmp_path):
    columns, rows = table(written(tmp_path, GOOD))
    assert columns == ["t", "a"]
    np.testing.assert_array_equal(rows, [[1, 2], [2, np.nan], [3, 4], [4, 5]])


def test_line_ends_and_places_of_other_systems(tmp_path):
    columns, rows = table(written(tmp_path, b"a,t\r\n5,1\r\n6,2\r\n7,3\r\n"))
    assert columns == ["a", "t"]
    assert rows[:, 0].tolist() == [5, 6, 7]


def test_a_moment_told_twice_counts_once(tmp_path):
    rows = table(written(tmp_path, b"t,a\n1,1\n2,2\n2,3\n3,4\n"))[1]
    assert rows[:, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"", 1, "empty"),
        (b"t,a", 1, "first line"),
        (b"t,a\n", 1, "ends after 0"),
        (b"time,a\n1,2\n", 1, "no column `t`"),
        (b"t,wl\n1,2\n", 1, "no column of telemetry"),
        (b"t,a,a\n1,2,3\n", 1, "there twice"),
        (b"t,a\n1,2\n2\n3,4\n", 3, "1 columns"),
        (b"t,a\n1,2\n2,3,4\n3,4\n", 3, "3 columns"),
        (b"t,a\n1,2\n\n3,4\n", 3, "1 columns"),
        (b"t,a\n1,2\n2,x\n3,4\n", 3, "column 'a' is no number: 'x'"),
        (b"t,a\n1,2\n2,inf\n3,4\n", 3, "no number: 'inf'"),
        (b"t,a\n1,2\n2,3\n3,\xff\x00\n", 4, "no number"),
        (b"t,a\n1,2\n,3\n3,4\n", 3, "no time"),
        (b"t,a\n1,2\n2,3\n1.5,4\n", 4, "time falls"),
        (b"t,a\n1,2\n1,3\n1,4\n", 4, "ends after 1 moments"),
        (b"t,a\n1,2\n2,3\n3,4\n4,", 5, "cut off"),
    ],
)
def test_what_is_wrong_has_a_place(tmp_path, content, line, says):
    path = written(tmp_path, content)
    with pytest.raises(SettingError) as told:
        table(path)
    assert str(told.value).startswith(f"{path}:{line}: ")
    assert says in str(told.value)


@pytest.mark.parametrize("kept", [1, 9, 30, 5000, -4])
def test_a_file_cut_off_in_its_middle_has_a_place(tmp_path, kept):
    rows = np.random.default_rng(0).normal(size=9000)
    content = b"t,a\n" + b"".join(b"%d,%f\n" % (i, v) for i, v in enumerate(rows))
    path = written(tmp_path, gzip.compress(content)[:kept], pack=False)
    with pytest.raises(SettingError, match=r"r\.csv\.gz:\d+: .*(cut off|not a gzip|first line)"):
        table(path)


def test_what_is_no_gzip_and_what_is_not_there(tmp_path):
    with pytest.raises(SettingError, match=r"r\.csv\.gz:1: not a gzip"):
        table(written(tmp_path, b"t,a\n1,2\n", pack=False))
    with pytest.raises(SettingError, match="No such file"):
        table(str(tmp_path / "none.csv.gz"))

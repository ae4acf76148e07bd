"""Distrust of arrays that come in, and what a file system must be to be read from."""

import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepad.bus import blobs
from jepad.errors import SettingError


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", ">f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_what_numpy_writes_is_read(dtype, order, version):
    array = np.asarray([[1, 2, np.nan], [4, 5, np.inf]], dtype=dtype, order=order)
    got = blobs.window(npy(array, version=version))
    np.testing.assert_array_equal(got, array.astype(float))
    assert got.dtype == np.float64


def test_what_we_write_numpy_reads():
    for shape in ((1, 1), (7, 384)):
        array = np.random.default_rng(1).random(shape, dtype=np.float32)
        got = np.load(io.BytesIO(blobs.npy(array)), allow_pickle=False)
        np.testing.assert_array_equal(got, array)


GOOD = npy(np.ones((3, 2), dtype=np.float32))


def header(text):
    text = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(24)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD[:9],
        GOOD[:-1],
        GOOD + b"x",
        header("__import__('os').system('true')"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 1)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -2)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 6)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1" + "0" * 500 + ", 2)}"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (3, 2)}"),
        header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 2)}"),
        header("{'descr': '<f4', 'fortran_order': False}"),
        header("[" * 400),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': 6}"),
        header("6"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    ],
)
def test_what_is_no_window_is_refused(content):
    with pytest.raises(SettingError):
        blobs.window(content)


@given(st.binary(max_size=200), st.integers(0, len(GOOD) - 1))
def test_damage_is_refused_or_read_as_floats(noise, at):
    content = GOOD[:at] + noise + GOOD[at + len(noise) :]
    try:
        assert blobs.window(content).dtype == np.float64
    except SettingError as error:
        assert str(error)  # noqa: PT017 either way is right


def test_a_file_on_a_foreign_file_system_is_refused():
    fd = os.open("/proc/self/status", os.O_RDONLY)
    try:
        assert blobs._mounted_as(fd) == "proc"
        with pytest.raises(SettingError, match="no local file system"):
            blobs.read_bounded(fd, 1 << 20)
    finally:
        os.close(fd)


def test_a_memory_file_is_read_from_its_start_and_up_to_its_limit():
    fd = os.memfd_create("x")
    os.write(fd, b"0123456789")
    assert blobs.read_bounded(fd, 10) == b"0123456789"
    with pytest.raises(SettingError, match="at most 9"):
        blobs.read_bounded(fd, 9)
    os.close(fd)


def test_a_sealed_file_stays_as_it_is():
    fd = blobs.sealed("x", b"abc")
    assert os.read(fd, 10) == b"abc"
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"z", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 1)
    os.close(fd)


CLIP = npy(np.ones((2, 3, 4, 3), dtype=np.uint8))


def test_frames_are_read_in_place():
    array = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 3), np.uint8)
    content = bytearray(npy(array))
    got = blobs.frames(content)
    np.testing.assert_array_equal(got, array)
    assert np.shares_memory(got, np.frombuffer(content, np.uint8))


def test_an_embedding_is_finite_and_has_rows():
    array = np.arange(6, dtype=">f8").reshape(2, 3)
    got = blobs.tokens(npy(array))
    np.testing.assert_array_equal(got, array)
    assert got.dtype == np.float32
    for wrong in (np.ones(3), np.ones((0, 3)), np.array([[np.nan]]), np.ones((2, 2), np.uint8)):
        with pytest.raises(SettingError):
            blobs.tokens(npy(wrong))


@given(st.binary(max_size=200))
def test_no_bytes_are_frames_by_chance(content):
    for whole in (content, blobs.MAGIC + content, CLIP[:10] + content):
        with pytest.raises(SettingError):
            blobs.frames(whole)


@given(st.integers(0, len(CLIP) - 1), st.integers(1, 255))
def test_one_byte_off_is_frames_or_refused(at, flip):
    content = bytearray(CLIP)
    content[at] ^= flip
    try:
        assert blobs.frames(content).ndim == 4
    except SettingError as error:
        assert len(str(error)) < 300  # noqa: PT017 either way is right


def test_a_file_cut_while_it_is_read_is_short_and_refused(monkeypatch):
    fd = os.memfd_create("clip")
    os.write(fd, CLIP)
    real = os.preadv

    def cut(fd, buffers, at):
        os.truncate(fd, 150)
        return real(fd, buffers, at)

    monkeypatch.setattr(os, "preadv", cut)
    content = blobs.read_bounded(fd, 1 << 20)
    os.close(fd)
    assert len(content) == 150
    with pytest.raises(SettingError, match="bytes instead of 72"):
        blobs.frames(content)

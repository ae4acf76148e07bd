"""One table, three readers: numpy, the C header and the manual page say the same."""

import pathlib
import re
import subprocess

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.ring.layout import (
    HEADER,
    HEADER_DTYPE,
    HEADER_SIZE,
    KINDS,
    SLOT,
    SLOT_DTYPE,
    SLOT_SIZE,
    Layout,
    bits_float,
    float_bits,
    object_path,
)

REPO = pathlib.Path(__file__).parents[2]
SIZES = {"char": 1, "u8": 1, "u16": 2, "u32": 4, "u64": 8}
TABLES = {"jepad_header": HEADER, "jepad_slot": SLOT}


def test_numpy_dtypes_are_the_table():
    for fields, dtype, size in ((HEADER, HEADER_DTYPE, HEADER_SIZE), (SLOT, SLOT_DTYPE, SLOT_SIZE)):
        assert dtype.itemsize == size
        assert [(dtype.fields[f.name][1], f.name) for f in fields] == [
            (f.offset, f.name) for f in fields
        ]


def test_the_c_header_is_the_table(tmp_path):
    lines = ['#include "jepad_shm.h"']
    for struct, fields in TABLES.items():
        for f in fields:
            size = SIZES[f.ctype] * f.count
            lines.append(
                f"_Static_assert(offsetof(struct {struct}, {f.name}) == {f.offset}"
                f' && sizeof(((struct {struct} *)0)->{f.name}) == {size}, "{f.name}");'
            )
    source = tmp_path / "offsets.c"
    source.write_text("\n".join(lines) + "\n")
    subprocess.run(
        ["cc", "-std=gnu11", "-fsyntax-only", f"-I{REPO}/libjepad", source], check=True, timeout=60
    )
    header = (REPO / "libjepad" / "jepad_shm.h").read_text()
    for struct, fields in TABLES.items():
        asserted = re.findall(rf"JEPAD_AT\({struct}, (\w+), (0x\w+)\)", header)
        assert [(name, int(at, 16)) for name, at in asserted] == [
            (f.name, f.offset) for f in fields
        ]


def test_the_manual_page_is_the_table():
    page = (REPO / "man" / "jepad-shm.7").read_text()
    rows = re.findall(r"^\.It Li (0x\w+) Ta (\w+) Ta (\w+)(?: Ns Bq (\d+))?$", page, re.M)
    found = [(int(at, 16), ctype, name, int(count or 1)) for at, ctype, name, count in rows]
    wanted = [(f.offset, f.ctype, f.name, f.count) for f in (*HEADER, *SLOT)]
    assert found == wanted


def test_the_kinds_are_those_of_c():
    header = (REPO / "libjepad" / "jepad_shm.h").read_text()
    for name, value in KINDS.items():
        assert f"JEPAD_KIND_{name.upper()} = {value}" in header
        assert Layout(f"{name}.machine", "f4", (1,), {}, 4).kind == value
    assert Layout("other", "f4", (1,), {}, 4).kind == 0


def test_the_map_exports_what_the_header_declares():
    header = (REPO / "libjepad" / "jepad_shm.h").read_text()
    declared = set(re.findall(r"^[a-z][\w *]*?\b(jepad_\w+)\(", header, re.M))
    exported = set(re.findall(r"(jepad_\w+);", (REPO / "libjepad" / "jepad.map").read_text()))
    assert exported == declared


@pytest.mark.parametrize("stream", ["", "a/b", "..", ".x", "x.lock", "n" * 48, "a b", "a\0"])
def test_names_that_could_leave_the_directory_are_refused(stream):
    with pytest.raises(SettingError):
        object_path("jepad", stream)


@pytest.mark.parametrize("prefix", ["", "a/b", "../x", "-x", "a.b", "/dir/"])
def test_prefixes_that_could_leave_the_directory_are_refused(prefix):
    with pytest.raises(SettingError):
        object_path(prefix, "telemetry")


def test_a_prefix_may_name_a_directory():
    assert object_path("/mnt/ring/jepad", "telemetry") == "/mnt/ring/jepad.telemetry"


@pytest.mark.parametrize("dtype", [">f8", "c16", "S4", "O", "M8[s]"])
def test_element_types_without_a_code_are_refused(dtype):
    with pytest.raises(SettingError):
        _ = Layout("x", dtype, (1,), {}, 4).element


@pytest.mark.parametrize("value", [0.0, -1.5, float("inf"), 1e-300])
def test_a_float_travels_in_an_aux_word(value):
    assert bits_float(float_bits(value)) == value


def test_a_nan_travels_in_an_aux_word():
    assert np.isnan(bits_float(float_bits(float("nan"))))

"""C and Python write and read the same bytes, and those of the day ABI 1 was fixed."""

import gzip
import importlib.util
import json
import pathlib
import subprocess

import numpy as np
import pytest

from jepad.errors import RingError
from jepad.ring.layout import HEADER_DTYPE, Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

HERE = pathlib.Path(__file__).parent
_spec = importlib.util.spec_from_file_location("forge", HERE / "forge.py")
forge = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(forge)

GOLDEN = gzip.decompress((HERE / "golden" / "abi1.bin.gz").read_bytes())
#: What differs from run to run.
VOLATILE = ("boot_id", "generation", "heartbeat_mono_ns", "pid", "notify", "header_crc32c")


def put(prefix, data, name="golden"):
    path = pathlib.Path(f"/dev/shm/{prefix}.{name}")
    path.write_bytes(data)
    return path


def settled(data):
    """The same object with the volatile fields as in the golden file."""
    out = bytearray(data)
    header = np.frombuffer(out, HEADER_DTYPE, count=1)
    for field in VOLATILE:
        header[field] = np.frombuffer(GOLDEN, HEADER_DTYPE, count=1)[field]
    return bytes(out)


def check_read_by_python(prefix):
    s = Stream(prefix, "golden")
    assert s.header.schema == {"columns": ["a", "b", "c"]}
    assert s.header.shape == (2, 3)
    assert s.header.dtype == np.float32
    assert s.header.model_sha256 == bytes(range(32))
    assert (s.head, s.state, s.epoch) == (5, "stopped", 1)
    rows, t_ns, flags, last = s.window(10)
    assert last == 5
    assert t_ns.tolist() == [1002, 1003, 1004, 1005]
    assert flags.tolist() == [0, 1, 0, 1]
    for n, row in zip(range(2, 6), rows, strict=True):
        np.testing.assert_array_equal(row, (np.arange(6) + 10 * n).reshape(2, 3))
    f = s.read(n=3)
    assert (f.source_n, f.aux, f.t_publish_ns, f.epoch) == (103, (3, 2**64 - 4), 2003, 1)


def check_read_by_c(programs, path):
    out = json.loads(programs("golden", "read", path))
    assert (out["name"], out["shape"], out["sha_last"]) == ("golden", [2, 3], 31)
    assert (out["head"], out["epoch"]) == (6, 1)
    assert [r["n"] for r in out["records"]] == [2, 3, 4, 5]
    for r in out["records"]:
        n = r["n"]
        assert (r["t"], r["t_publish"], r["len"]) == (1000 + n, 2000 + n, 24)
        assert (r["flags"], r["epoch"], r["source_n"]) == (n & 1, 1, 100 + n)
        assert r["aux"] == [n, 2**64 - 1 - n]
        assert r["values"] == [10 * n + i for i in range(6)]


def test_forged_bytes_are_the_golden_ones():
    assert forge.image() == GOLDEN


def test_python_and_c_read_the_golden_file(prefix, programs):
    path = put(prefix, GOLDEN)
    check_read_by_python(prefix)
    check_read_by_c(programs, path)


def test_c_writes_the_golden_file(prefix, programs):
    path = f"/dev/shm/{prefix}.golden"
    programs("golden", "write", path)
    check_read_by_python(prefix)
    assert settled(pathlib.Path(path).read_bytes()) == GOLDEN


def test_c_reads_what_python_writes(prefix, programs):
    schema = {"columns": ["a", "b", "c"]}
    layout = Layout("golden", "f4", (2, 3), schema, 4, bytes(range(32)), payload_crc=True)
    with Writer.create(prefix, layout) as w:
        for n in range(6):
            array = (np.arange(6, dtype=np.float32) + 10 * n).reshape(2, 3)
            w.publish(array, 1000 + n, flags=n & 1, source_n=100 + n, aux=(n, 2**64 - 1 - n))
    path = pathlib.Path(f"/dev/shm/{prefix}.golden")
    data = bytearray(path.read_bytes())
    for n in range(2, 6):  # the one thing Python does not choose: when it was published
        at = 0x1000 + n % 4 * 64 + 0x10
        data[at : at + 8] = (2000 + n).to_bytes(8, "little")
    assert settled(bytes(data)) == GOLDEN
    path.write_bytes(data)
    check_read_by_c(programs, path)


def test_the_example_reader_prints_records(programs, prefix):
    put(prefix, GOLDEN)
    out = subprocess.run(
        [programs.build / "jepad-tail", prefix, "golden", "1"],
        capture_output=True,
        text=True,
        timeout=20,
        env={"LD_LIBRARY_PATH": str(programs.build)},
        check=True,
    )
    assert '{"columns":["a","b","c"]}' in out.stdout
    assert "#5 t=0.000 s gap: 50 51 52 53 54 55" in out.stdout


@pytest.mark.parametrize(("n", "flip"), [(4, 8192 + 5), (3, 8192 + 64 * 3 + 23)])
def test_a_damaged_payload_fails_its_checksum(prefix, n, flip):
    data = bytearray(GOLDEN)
    data[flip] ^= 4
    put(prefix, bytes(data))
    with pytest.raises(RingError, match="damaged"):
        Stream(prefix, "golden").read(n=n)

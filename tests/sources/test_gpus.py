"""Graphics cards: through sysfs and fdinfo on fixture trees, through a stand-in for NVML."""

import json
import os
import subprocess
import sys

import pytest

from jepad.paths import Roots
from jepad.sources.drm import Clients, Drm
from jepad.sources.nvidia import Nvidia


def test_cards_as_their_drivers_show_them(tree):
    drm = Drm(tree)
    names = [s.name for s in drm.describe()]
    values = drm.read()
    assert values == pytest.approx(
        {
            "gpu.card0.util": 7.0,
            "gpu.card0.mem": 1288490188.0,
            "gpu.card0.temp": 52.0,
            "gpu.card0.power": 28.0,
            "gpu.card1.clock": 650.0,
            "gpu.card1.util": 0.0,
        }
    )
    assert sorted(names) == sorted(values)  # no connector, and no card of NVIDIA's


def test_use_told_by_the_tasks_is_a_share_of_time(tree):
    clients = Clients(tree.proc)
    assert clients.busy() == {"0000:00:02.0": 0.0}
    path = f"{tree.proc}/2077/fdinfo/5"
    with open(path) as file:
        before = file.read()
    with open(path, "w") as file:
        file.write(before.replace("9288864723 ns", "9999988864723 ns"))
    assert clients.busy() == {"0000:00:02.0": 100.0}
    os.unlink(f"{tree.proc}/2077/fd/5")
    assert clients.busy() == {}


def test_without_a_driver_the_library_is_not_even_imported(tree):
    code = (
        "import sys; from jepad.paths import Roots; from jepad.sources.nvidia import Nvidia\n"
        f"assert Nvidia(Roots({tree.proc!r}, {tree.sys!r}, {tree.run!r}, {tree.dev!r}))"
        ".describe() == ()\n"
        "assert 'pynvml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


STAND_IN = r"""
#include <stdlib.h>
struct util { unsigned gpu, memory; };
struct mem { unsigned long long total, free, used; };
static int lost(void) { return getenv("CARD_LOST") != 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned f) { (void)f; return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { *d = (void *)(i + 1UL); return 0; }
int nvmlDeviceGetUtilizationRates(void *d, struct util *u)
    { u->gpu = 40 + (unsigned)(unsigned long)d; u->memory = 5; return lost() ? 15 : 0; }
int nvmlDeviceGetMemoryInfo(void *d, struct mem *m)
    { (void)d; m->total = 100; m->used = 64; m->free = 36; return 0; }
int nvmlDeviceGetTemperature(void *d, int s, unsigned *t) { (void)d; (void)s; *t = 61; return 0; }
int nvmlDeviceGetPowerUsage(void *d, unsigned *p)
    { *p = 250500; return d == (void *)2 ? 3 : 0; }
const char *nvmlErrorString(int code) { (void)code; return "stand-in"; }
"""
READ = """
import json, os, sys
from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.sources.nvidia import Nvidia
source = Nvidia(Roots(proc="/nowhere", dev=sys.argv[1]))
declared = [s.name for s in source.describe()]
values = source.read()
os.environ["CARD_LOST"] = "1"
import ctypes; ctypes.CDLL(None).setenv(b"CARD_LOST", b"1", 1)
try:
    source.read()
    told, rest = "", {}
except SourceError as error:
    told, rest = str(error), error.values
print(json.dumps([declared, values, told, rest]))
"""


def test_nvml_is_asked_where_there_is_a_card(tmp_path):
    """The real binding and the dynamic loader, against a library that plays two cards."""
    (tmp_path / "nvml.c").write_text(STAND_IN)
    library = tmp_path / "libnvidia-ml.so.1"
    cc = ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "nvml.c")]
    subprocess.run(cc, check=True, timeout=60)
    (tmp_path / "nvidiactl").touch()
    out = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path)],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    declared, values, told, rest = json.loads(out)
    assert values == {
        "gpu0.util": 41.0,
        "gpu0.mem": 64.0,
        "gpu0.temp": 61.0,
        "gpu0.power": 250.5,
        "gpu1.util": 42.0,
        "gpu1.mem": 64.0,
        "gpu1.temp": 61.0,
    }  # the second card has no power meter
    assert declared == list(values)
    assert told.startswith("NVML: gpu1.util")
    assert set(values) - set(rest) == {
        "gpu0.util",
        "gpu1.util",
    }


def test_a_driver_without_its_library_is_absent(tmp_path):
    (tmp_path / "nvidiactl").touch()
    code = (
        "import sys; from jepad.paths import Roots; from jepad.sources.nvidia import Nvidia\n"
        "import ctypes.util\n"
        "print(Nvidia(Roots(dev=sys.argv[1])).describe())"
    )
    # A library of that name that is none hides a real one on machines that have it.
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert out.strip() == "()"
    assert Nvidia(Roots(dev=str(tmp_path / "none"), proc=str(tmp_path))).describe() == ()

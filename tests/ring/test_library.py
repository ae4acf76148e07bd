"""libjepad's own test programs, its installation, and its build for other machines."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

REPO = pathlib.Path(__file__).parents[2]
LIB = REPO / "libjepad"
SOURCES = [str(LIB / f"jepad_{part}.c") for part in ("shm", "reader", "writer")]
WARN = ["-std=gnu11", "-O2", "-fPIC", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
CROSS = "aarch64-linux-gnu-gcc"


def test_no_torn_record_is_accepted(programs):
    """Eight readers and a writer over two slots, until ten million looks were validated."""
    out = json.loads(programs("torn", 8, 10_000_000, 1000))
    assert out["torn_undetected"] == 0
    assert out["validated"] >= 10_000_000
    assert out["torn_rejected"] >= 1000


def test_killing_the_writer_anywhere_harms_no_reader(programs):
    out = json.loads(programs("kill", 30))
    assert out["kills"] == 30 * 8
    assert out["creation_kills"] == 30 * 3
    assert out["reads"] > 0
    assert (out["bad"], out["regressions"], out["remaps"]) == (0, 0, 0)


def test_no_mutated_object_crashes_a_reader(programs):
    """A crash or an undefined operation ends the program with a report, and this test with it."""
    out = json.loads(programs("mutate", 200_000))
    assert out["mutants"] == 200_000
    assert 1000 < out["let_in"] < 199_000


@pytest.mark.parametrize(
    "compiler", ["gcc", pytest.param("clang", marks=pytest.mark.may_skip("no clang"))]
)
def test_it_compiles_without_a_warning(compiler, tmp_path):
    found = shutil.which(compiler) or shutil.which(f"{compiler}-14")
    if found is None:
        pytest.skip(f"{compiler} is not installed")
    for source in [*SOURCES, str(LIB / "examples" / "jepad-tail.c")]:
        argv = [found, *WARN, f"-I{LIB}", "-c", source, "-o", tmp_path / "x.o"]
        subprocess.run(argv, check=True, timeout=60)


@pytest.mark.may_skip("no pkg-config")
def test_a_stranger_compiles_the_example_against_the_installed_library(tmp_path, programs):
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed")
    build, prefix = programs.build, tmp_path / "usr"
    (build / "jepad.pc").unlink()
    make = ["make", "-s", "-C", str(LIB), f"BUILD={build}", f"PREFIX={prefix}"]
    subprocess.run([*make, "install"], check=True, timeout=60)
    env = {"PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig", "PATH": "/usr/bin:/bin"}
    line = f"cc {LIB}/examples/jepad-tail.c $(pkg-config --cflags --libs jepad) -o {tmp_path}/tail"
    subprocess.run(["sh", "-c", line], check=True, env=env, timeout=60)
    run = subprocess.run(
        [tmp_path / "tail", "no-such-prefix", "telemetry"],
        check=False,
        env={"LD_LIBRARY_PATH": f"{prefix}/lib"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert run.returncode == 1
    assert "there is no stream /dev/shm/no-such-prefix.telemetry" in run.stderr
    names = subprocess.check_output(["nm", "-D", f"{prefix}/lib/libjepad.so.1"], text=True)
    exported = set(re.findall(r" T (jepad_\w+)", names))
    assert "jepad_publish" in exported
    assert "jepad_attach" not in exported


@pytest.mark.may_skip("no cross compiler or no qemu-user")
def test_it_works_on_aarch64(tmp_path, prefix):
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if shutil.which(CROSS) is None or qemu is None:
        pytest.skip("no aarch64 compiler or no qemu-user")
    for name in ("golden", "kill"):
        source = LIB / "tests" / f"{name}.c"
        argv = [CROSS, *WARN, "-static", "-DJEPAD_TEST", f"-I{LIB}", source, *SOURCES]
        subprocess.run([*argv, "-o", tmp_path / name], check=True, timeout=60)
    path = f"/dev/shm/{prefix}.golden"
    subprocess.run([qemu, tmp_path / "golden", "write", path], check=True, timeout=30)
    out = subprocess.check_output([qemu, tmp_path / "golden", "read", path], timeout=30)
    assert json.loads(out)["records"][3]["values"] == [50, 51, 52, 53, 54, 55]
    out = subprocess.check_output([qemu, tmp_path / "kill", "2"], timeout=60)
    assert json.loads(out)["bad"] == 0


@pytest.mark.may_skip("no herd7")
@pytest.mark.parametrize("litmus", sorted((LIB / "litmus").glob("*.litmus")), ids=lambda p: p.stem)
def test_the_memory_model_gives_the_expected_verdict(litmus):
    wanted = re.search(r"expected: (Never|Sometimes)", litmus.read_text())[1]
    if shutil.which("herd7") is None:
        pytest.skip("herd7 is not installed")
    out = subprocess.check_output(["herd7", litmus], text=True, timeout=120)
    assert re.search(r"^Observation \S+ (\w+)", out, re.M)[1] == wanted

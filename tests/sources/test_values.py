"""The numbers themselves: by hand on the fixture trees, by psutil on this machine."""

import os

import psutil
import pytest

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.sources.cpu import Cpu
from jepad.sources.disk import Disk
from jepad.sources.files import Files
from jepad.sources.filesystem import Filesystem
from jepad.sources.frequency import Frequency
from jepad.sources.memory import Memory
from jepad.sources.network import Network
from jepad.sources.power import Power
from jepad.sources.psi import Psi
from jepad.sources.rapl import Rapl, Unwrapped
from jepad.sources.thermal import Thermal
from jepad.sources.vmstat import Vmstat


def read(source):
    source.describe()
    return source.read()


def test_pressure(tree, put):
    put(
        tree.proc,
        {
            "pressure/cpu": "some avg10=1.24 avg60=0.87 avg300=0.45 total=7401598\n",
            "pressure/memory": (
                "some avg10=27.35 avg60=10.14 avg300=2.59 total=11238225\n"
                "full avg10=26.61 avg60=9.87 avg300=2.51 total=10536351\n"
            ),
        },
    )
    os.unlink(f"{tree.proc}/pressure/io")
    assert read(Psi(tree)) == {
        "psi.cpu.some.total": 7401598,  # a kernel before 5.13: no full line for cpu
        "psi.cpu.some.avg10": 1.24,
        "psi.memory.some.total": 11238225,
        "psi.memory.some.avg10": 27.35,
        "psi.memory.full.total": 10536351,
        "psi.memory.full.avg10": 26.61,
    }


def test_processor_time(tree, put):
    put(
        tree.proc,
        {
            "stat": (
                "cpu  100 5 50 800 20 1 2 3 9 0\n"
                "cpu0 60 5 30 400 10 1 2 3 9 0\n"
                "cpu7 40 0 20 400 10 0 0 0 0 0\n"
                "intr 12345 0 1 2\nctxt 777\nbtime 1\nprocesses 88\n"
                "procs_running 3\nprocs_blocked 1\nsoftirq 999 1 2\n"
            ),
            "loadavg": "0.45 0.14 0.06 2/97 5184\n",
        },
    )
    values = read(Cpu(tree))
    assert values["cpu.user"] == 100
    assert values["cpu.steal"] == 3
    assert values["cpu.busy"] == 161  # all but idle and iowait; guest time is inside user
    assert values["cpu0.busy"] == 101
    assert values["cpu0.system"] == 30
    assert values["cpu7.busy"] == 60
    assert "cpu7.user" not in values
    assert values["intr"] == 12345
    assert values["ctxt"] == 777
    assert values["softirq"] == 999
    assert values["procs_running"] == 3
    assert values["processes"] == 88
    assert values["load1"] == 0.45
    assert values["nthreads"] == 97


def test_a_core_that_comes_online_waits_to_be_declared(tree, put):
    cpu = Cpu(tree)
    declared = {s.name for s in cpu.describe()}
    with open(f"{tree.proc}/stat") as file:
        stat = file.read()
    put(tree.proc, {"stat": stat.replace("intr ", "cpu2 1 1 1 1 1 1 1 1 0 0\nintr ", 1)})
    assert set(cpu.read()) == declared
    assert {s.name for s in cpu.describe()} - declared == {"cpu2.user", "cpu2.system", "cpu2.busy"}


def test_lines_that_appear_move_no_value(tree):
    path = f"{tree.proc}/meminfo"
    memory = Memory(tree)
    before = read(memory)
    with open(path) as file:
        lines = file.readlines()
    with open(path, "w") as file:
        file.writelines(["New:  1 kB\n", *lines])
    assert memory.read() == before
    with open(path, "w") as file:
        file.writelines(line for line in lines if not line.startswith("MemFree"))
    with pytest.raises(SourceError, match="meminfo: not in the kernel's format: keys changed"):
        memory.read()


def test_disks_leave_out_partitions_loops_and_disks_without_size(tree):
    values = read(Disk(tree))
    assert {name.split(".")[1] for name in values} == {"vda"}
    with open(f"{tree.proc}/diskstats") as file:
        line = next(line for line in file if " vda " in line).split()
    assert values["disk.vda.rd"] == float(line[3])
    assert values["disk.vda.wiot"] == float(line[13])


def test_disks_without_sysfs_are_told_by_their_names(tmp_path, put):
    put(
        tmp_path,
        {
            "diskstats": "".join(
                f"   8  {i} {name} 1 2 3 4 5 6 7 8 9 10 11 0 0 0 0 0 0\n"
                for i, name in enumerate(
                    ["sda", "sda1", "nvme0n1", "nvme0n1p2", "mmcblk0", "mmcblk0p1", "dm-0", "sr0"]
                )
            )
        },
    )
    values = read(Disk(Roots(proc=str(tmp_path), sys=str(tmp_path / "none"))))
    assert {name.split(".")[1] for name in values} == {"sda", "nvme0n1", "mmcblk0"}


def test_only_local_file_systems_are_asked_and_each_device_once(tree):
    values = read(Filesystem(tree))
    assert set(values) == {"fs./.used", "fs./.files"}
    assert values["fs./.used"] == pytest.approx(psutil.disk_usage("/").percent, abs=1)


def test_interfaces_put_hardware_first_and_virtual_ends_last(tree, put):
    head = "Inter-|  Receive |  Transmit\n face |bytes |bytes\n"
    row = " 1 2 3 4 0 0 0 0 10 20 30 40 0 0 0 0\n"
    names = ["lo", "veth12ab", "docker0", "wg0", "enp0s31f6", "eth0"]
    put(tree.proc, {"net/dev": head + "".join(f"{name:>6}:{row}" for name in names)})
    network = Network(tree)
    order = [s.name.split(".")[1] for s in network.describe() if s.name.endswith("rxB")]
    assert order == ["eth0", "lo", "wg0", "enp0s31f6"]
    values = network.read()
    assert [values[f"net.eth0.{f}"] for f in ("rxB", "rxp", "txB", "txp", "err", "drop")] == [
        1, 2, 10, 20, 33, 44,
    ]  # fmt: skip


def test_sensors(tree):
    assert read(Thermal(tree)) == pytest.approx(
        {
            "temp.coretemp.Package_id_0": 47.0,
            "temp.coretemp.Core_0": 45.0,
            "temp.coretemp.Core_1": 46.0,
            "temp.nvme.Composite": 38.85,
            "temp.nct6775.temp1": -5.5,
            "fan.nct6775.fan1": 1180.0,
            "fan.nct6775.fan2": 0.0,
            "power.nct6775.power1": 12.5,
            "temp.thermal_zone0.acpitz": 27.8,
        }
    )


def test_two_chips_of_a_kind_are_told_apart_by_their_devices(tree, put):
    put(tree.sys, {"class/hwmon/hwmon5/name": "nvme\n", "class/hwmon/hwmon5/temp1_input": "1000\n"})
    os.makedirs(f"{tree.sys}/devices/nvme1")
    os.symlink(f"{tree.sys}/devices/nvme1", f"{tree.sys}/class/hwmon/hwmon5/device")
    values = read(Thermal(tree))
    assert values["temp.nvme-nvme1.temp1"] == 1.0
    assert "temp.nvme.Composite" not in values


def test_a_spoilt_sensor_leaves_the_others(tree, put):
    thermal = Thermal(tree)
    whole = read(thermal)
    put(tree.sys, {"class/hwmon/hwmon0/temp1_input": "hot\n"})
    with pytest.raises(SourceError, match="hwmon0/temp1_input: not in the kernel's format") as told:
        thermal.read()
    del whole["temp.coretemp.Package_id_0"]
    assert told.value.values == whole


def test_batteries_and_mains(tree):
    assert read(Power(tree)) == pytest.approx(
        {
            "power.BAT0.charge": 63.0,
            "power.BAT0.stored": 31.5,
            "power.BAT0.draw": 8.4,
            "power.BAT1.charge": 80.0,
            "power.BAT1.draw": -18.0,  # 1.5 A at 12 V, into the battery
            "power.AC.online": 0.0,
        }
    )


def test_energy_goes_on_when_the_counter_turns(tree, put):
    rapl = Rapl(tree)
    first = read(rapl)
    assert set(first) == {
        "power.package-0.energy",
        "power.package-0.core.energy",
        "power.package-0.uncore.energy",
    }
    assert first["power.package-0.energy"] == pytest.approx(161328.431905)
    put(tree.sys, {"class/powercap/intel-rapl:0/energy_uj": "1000000\n"})
    turned = rapl.read()["power.package-0.energy"]
    assert turned == pytest.approx(262143.328850 + 1.0)
    rapl.describe()
    assert rapl.read()["power.package-0.energy"] == turned


def test_every_turn_is_counted_once():
    raw = iter([5e6, 9e6, 2e6, 3e6, 1e6])
    counter = Unwrapped(lambda: next(raw), 10e6)
    assert [counter() for _ in range(5)] == pytest.approx([5, 9, 12, 13, 21])


def test_clocks_of_the_cores(tree):
    assert read(Frequency(tree)) == pytest.approx({"freq.policy0": 1400, "freq.policy4": 2800})


def test_this_machine_as_psutil_sees_it():
    roots = Roots()
    before = {**psutil.net_io_counters(pernic=True)}, psutil.disk_io_counters(perdisk=True)
    memory, network, disk = read(Memory(roots)), read(Network(roots)), read(Disk(roots))
    after = psutil.net_io_counters(pernic=True), psutil.disk_io_counters(perdisk=True)
    assert memory["mem.MemTotal"] * 1024 == psutil.virtual_memory().total
    for name in {n.split(".")[1] for n in network if n.startswith("net.")}:
        rx = network[f"net.{name}.rxB"]
        assert before[0][name].bytes_recv <= rx <= after[0][name].bytes_recv
    for name in {n.split(".")[1] for n in disk}:
        assert before[1][name].read_count <= disk[f"disk.{name}.rd"] <= after[1][name].read_count
    ticks = os.sysconf("SC_CLK_TCK")
    times = psutil.cpu_times()
    cpu = read(Cpu(roots))
    assert times.user <= cpu["cpu.user"] / ticks <= psutil.cpu_times().user
    assert read(Files(roots))["fd"] > 0
    assert read(Vmstat(roots))["vm.pgfault"] > 0

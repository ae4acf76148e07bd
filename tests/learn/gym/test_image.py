"""The guest's image: what is missing is named, modules load in order, the agent compiles clean."""

import subprocess
from pathlib import Path

import pytest

from jepad.errors import SettingError
from jepad.learn.gym import image

AGENT = Path(image.__file__).with_name("agent.c")
DEPENDENCIES = """\
kernel/lib/crc16.ko:
kernel/crypto/crc32c_generic.ko:
kernel/fs/mbcache.ko:
kernel/fs/jbd2/jbd2.ko:
kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko
kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko \
kernel/drivers/virtio/virtio.ko
"""


def test_modules_are_loaded_after_what_they_need():
    order = image._in_order(DEPENDENCIES, ("virtio_blk", "ext4"))
    names = [Path(path).stem for path in order]
    assert names.index("virtio") < names.index("virtio_ring") < names.index("virtio_blk")
    assert max(map(names.index, ("crc16", "mbcache", "jbd2", "crc32c_generic"))) < names.index(
        "ext4"
    )
    assert len(names) == len(set(names))


def test_a_kernel_without_a_module_is_named():
    with pytest.raises(SettingError, match="no module scsi_debug"):
        image._in_order(DEPENDENCIES, ("scsi_debug", "ext4"))


def test_missing_tools_are_named_with_the_way_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SettingError, match=r"apt-get install .*qemu-system-x86"):
        image.build()


def test_nothing_is_built_where_nothing_was(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert image.built() is None


def test_the_agent_compiles_without_a_warning(tmp_path):
    flags = ("-O2", "-Wall", "-Wextra", "-Werror", "-o", str(tmp_path / "agent"))
    subprocess.run(["gcc", *flags, str(AGENT)], check=True, timeout=120)


def test_scripts_of_the_loads_are_shell():
    for name, script in image._LOADS.items():
        subprocess.run(["sh", "-n"], input=script.encode(), check=True, timeout=60), name
    subprocess.run(["sh", "-n"], input=image._INIT.encode(), check=True, timeout=60)

"""What a guest boots: Debian's kernel, an initramfs with the agent, and a disk of real programs.

Owns: building these three once into the user's cache, and saying what is missing to do so.
Does not know: how a guest is run or what it is asked to do.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepad.errors import SettingError

#: Programs the host needs, and the Debian package each one is in.
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "gcc": "gcc",
    "cpio": "cpio",
}
_PACKAGES = ("busybox-static", "gcc", "libc6-dev", "sqlite3", "xz-utils", "zstd")
_KERNEL = "linux-image-amd64"
_MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "sd_mod", "scsi_debug", "ext4")
#: Nothing a load runs; a third of what is left is the compiler.
_LEFT_OUT = [
    "./boot",
    "./dev",
    "./usr/lib/modules",
    "./usr/share",
    "./usr/lib/udev",
    "./usr/lib/systemd",
    "./var/lib",
    "./var/cache",
    "*/lto1",
    "*lto-dump*",
    "*/perl*",
    "*/libasan*",
    "*/libtsan*",
    "*/liblsan*",
    "*/libubsan*",
    "*/apt*",
    "*/libapt*",
    "*/gconv",
    "*/locale",
    "*/__pycache__",
]
_SECONDS = 900.0
#: The disk in MiB; what the root and the files leave is for swap and scratch.
DISK_MIB = 896
_FILES_MIB = 288

_INIT = """#!/bin/busybox sh
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
for word in $(busybox cat /proc/cmdline); do
    case $word in gym.*) eval "${word#gym.}" ;; esac
done
for module in $(busybox cat /modules/order); do
    case $module in
    scsi_debug.ko) busybox insmod /modules/$module dev_size_mb=$disk ndelay=10000 ;;
    *) busybox insmod /modules/$module ;;
    esac
done
while [ ! -b /dev/sda ] || [ ! -b /dev/vda ]; do busybox sleep 0.1; done
busybox dd if=/dev/vda of=/dev/sda bs=1M 2>/dev/null
busybox mount -t ext4 /dev/sda /root
busybox fallocate -l ${swap}m /root/swapfile
busybox mkswap /root/swapfile > /dev/null
busybox cp /agent /root/agent
busybox sync
echo 3 > /proc/sys/vm/drop_caches
for tree in proc sys dev; do busybox mount -o move /$tree /root/$tree; done
exec busybox switch_root /root /agent
"""

#: Arguments of each: seed, then A, B and C of the agent's `run`.
_LOADS = {
    # A = hundredths of a second between two compilations
    "compile": "i=$1; while :; do i=$(( (i * 1103515245 + 12345) % 2147483648 ))\n"
    "gcc -O1 -c -o /tmp/$1.o /srv/src/$((i / 64 % 40)).c; "
    "sleep $(($2 / 100)).$(($2 % 100 / 10)); done\n",
    # A = rows in a transaction, B = rows kept, C = tenths of a second between transactions
    "sqlite": "db=/srv/$1.db; rm -f $db\n"
    "sqlite3 $db 'create table t(id integer primary key, k int, v text); create index i on t(k)'\n"
    'while :; do sqlite3 $db "pragma synchronous=normal; insert into t(k,v) with recursive '
    "n(i) as (select 1 union all select i+1 from n where i<$2) select abs(random())%5000, "
    "hex(randomblob(150)) from n; select count(*), max(v) from t where k between 1000 and 1400; "
    'delete from t where id <= (select max(id) from t) - $3" > /dev/null\n'
    "sleep $(($4 / 10)).$(($4 % 10)); done\n",
    # A = level of xz, B = files in one archive, C = tenths of a second between archives
    "archive": "i=$1; cd /srv/files; while :; do i=$(( (i * 1103515245 + 12345) % 2147483648 ))\n"
    "from=$((i / 64 % 300)); for n in $(seq $from $((from + $3)));\n"
    "do printf '%04d\\n' $n; done | tar cf - -T - 2>/dev/null | xz -$2 -c > /srv/$1.xz\n"
    "sleep $(($4 / 10)).$(($4 % 10)); done\n",
}


@dataclass(frozen=True, slots=True)
class Image:
    """Files a guest is started from; `release` is the guest kernel's."""

    kernel: str
    initramfs: str
    disk: str
    release: str


def missing_tools() -> list[str]:
    """Debian packages without which no guest can be built or run."""
    return sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})


def cache() -> Path:
    """Where the built files are kept; never in the checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "jepad" / "gym"


def built() -> Image | None:
    """The image if it has been built, and nothing it is made of has changed since."""
    directory = cache() / _digest()
    kernels = sorted(directory.glob("vmlinuz-*"))
    if not kernels:
        return None
    release = kernels[0].name.removeprefix("vmlinuz-")
    initramfs, disk = directory / "initramfs.gz", directory / "disk.raw"
    return Image(str(kernels[0]), str(initramfs), str(disk), release)


def build() -> Image:
    """The image, built now if need be: some minutes, and a Debian mirror within reach."""
    image = built()
    if image is not None:
        return image
    absent = missing_tools()
    if absent:
        raise SettingError(
            f"the guest gym needs {', '.join(absent)}: apt-get install {' '.join(absent)}"
        )
    cache().mkdir(parents=True, exist_ok=True)
    tree = _tree()
    with tempfile.TemporaryDirectory(dir=cache(), prefix="new-") as work:
        _boot_files(tree, Path(work))
        _disk(tree, Path(work))
        shutil.rmtree(cache() / _digest(), ignore_errors=True)
        os.rename(os.path.join(work, "done"), cache() / _digest())
    image = built()
    if image is None:
        raise SettingError(f"{cache()}: the built image has no kernel in it")
    return image


def _digest() -> str:
    """Names what the image is made of: this file and the agent."""
    here = Path(__file__)
    parts = here.read_bytes() + here.with_name("agent.c").read_bytes()
    return hashlib.sha256(parts).hexdigest()[:16]


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        errors="replace",
    )
    if done.returncode:
        raise SettingError(f"{command[0]} failed: {done.stderr.strip()[-400:]}")


def _tree() -> Path:
    """Debian's packages in one tar; made once for a list of packages."""
    name = hashlib.sha256(" ".join((*_PACKAGES, _KERNEL)).encode()).hexdigest()[:8]
    tree = cache() / f"debian-{name}.tar"
    if not tree.exists():
        fresh = tree.with_suffix(".new.tar")
        include = ",".join((*_PACKAGES, _KERNEL))
        _run("mmdebstrap", "--variant=minbase", f"--include={include}", "bookworm", str(fresh))
        os.rename(fresh, tree)
    return tree


def _extract(tree: Path, into: Path, *what: str) -> None:
    into.mkdir(parents=True, exist_ok=True)
    _run("tar", "xf", str(tree), "-C", str(into), *what)


def _boot_files(tree: Path, work: Path) -> None:
    """The kernel and the initramfs, in `work`/done."""
    boot, done, root = work / "boot", work / "done", work / "initramfs"
    done.mkdir()
    wanted = ("./usr/bin/busybox", "./usr/lib/modules", "./boot/vmlinuz-*")
    _extract(tree, boot, "--wildcards", *wanted)
    kernel = glob.glob(f"{boot}/boot/vmlinuz-*")[0]
    shutil.copy(kernel, done)
    for name in ("bin", "proc", "sys", "dev", "root", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy(boot / "usr/bin/busybox", root / "bin/busybox")
    release = os.path.basename(kernel).removeprefix("vmlinuz-")
    modules = boot / "usr/lib/modules" / release
    order = _in_order((modules / "modules.dep").read_text())
    for path in order:
        shutil.copy(modules / path, root / "modules")
    (root / "modules/order").write_text("\n".join(os.path.basename(p) for p in order))
    (root / "init").write_text(_INIT)
    (root / "init").chmod(0o755)
    source = str(Path(__file__).with_name("agent.c"))
    _run("gcc", "-static", "-O2", "-o", str(root / "agent"), source)
    _pack(root, done / "initramfs.gz")


def _pack(root: Path, into: Path) -> None:
    names = "\0".join(sorted(str(p.relative_to(root)) for p in root.rglob("*")))
    packed = subprocess.run(
        ("cpio", "-o", "-0", "-H", "newc", "--quiet", "-R", "0:0"),
        input=names.encode(),
        capture_output=True,
        timeout=_SECONDS,
        cwd=root,
        check=True,
    )
    into.write_bytes(gzip.compress(packed.stdout, 1))


def _in_order(dependencies: str, wanted: Sequence[str] = _MODULES) -> list[str]:
    """Paths of the wanted modules and what they need, what is needed first."""
    lines = [line.partition(":") for line in dependencies.splitlines()]
    needs = {path: rest.split() for path, _, rest in lines}
    by_name = {os.path.basename(path).split(".")[0].replace("-", "_"): path for path in needs}
    order: list[str] = []
    for name in (*wanted[:-1], "crc32c_generic", wanted[-1]):
        if name not in by_name:
            raise SettingError(f"the guest's kernel has no module {name}")
        # modules.dep lists a module's needs with the deepest last.
        for path in (*reversed(needs[by_name[name]]), by_name[name]):
            if path not in order:
                order.append(path)
    return order


def _disk(tree: Path, work: Path) -> None:
    """An ext4 image of the programs, and of files to serve, archive and compile."""
    root = work / "root"
    _extract(tree, root, *(f"--exclude={name}" for name in _LEFT_OUT), ".")
    for name in ("dev", "proc", "sys", "tmp", "srv/files", "srv/src", "srv/loads"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, script in _LOADS.items():
        (root / "srv/loads" / name).write_text(script)
    rng = np.random.default_rng(1)
    _files(root / "srv/files", rng)
    for i in range(40):
        (root / f"srv/src/{i}.c").write_text(_source(rng))
    disk = work / "done/disk.raw"
    options = ("-q", "-t", "ext4", "-m", "0", "-O", "^metadata_csum", "-d", str(root))
    _run("mke2fs", *options, str(disk), f"{DISK_MIB}M")


def _files(directory: Path, rng: np.random.Generator) -> None:
    """Text-like files, 16 KiB to 4 MiB, that compress as documents do."""
    words = rng.integers(97, 123, (4096, 8), dtype=np.uint8)
    words[:, 7] = 32
    left, number = _FILES_MIB << 20, 0
    while left > 0:
        size = int(np.clip(rng.lognormal(12.6, 1.1), 1 << 14, 1 << 22))
        chosen = rng.zipf(1.4, size // 8) % len(words)
        (directory / f"{number:04d}").write_bytes(words[chosen].tobytes())
        left, number = left - size, number + 1


def _source(rng: np.random.Generator) -> str:
    """A C file of 20 to 120 functions."""
    body = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"]
    for i in range(int(rng.integers(20, 120))):
        a, b, c = rng.integers(1, 1000, 3)
        body += [
            f"static int f{i}(int x, char *s) {{",
            f"  int y = x * {a} + {b}; char t[64];",
            f"  for (int i = 0; i < x % {c}; i++) y ^= (y << 3) + s[i % 16] * {b};",
            f'  if (y % {c} > {a % 7}) snprintf(t, sizeof t, "%d %d", y, x), y += strlen(t);',
            f"  return y + {f'f{i - 1}(y, t)' if i else 'x'}; }}",
        ]
    return "\n".join([*body, f"int main(int n, char **v) {{ return f{i}(n, v[0]); }}", ""])

"""Trees of the kernel's files to read from, and the sources without their threads."""

import os
import pathlib
import shutil
import tempfile

import pytest

from jepad.paths import Roots
from jepad.sources.registry import build
from jepad.sources.slow import Slow

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"


def write(root, files):
    for name, content in files.items():
        path = pathlib.Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def put():
    """A function that writes files below a root."""
    return write


@pytest.fixture
def traces():
    """The folder of recorded traces."""
    return FIXTURES / "traces"


@pytest.fixture
def tree():
    """Roots of a writable copy of the fixture trees, with a task that has a graphics card open."""
    # In memory: a hundred small files a test are slow on a busy disk.
    with tempfile.TemporaryDirectory(prefix="jepad-test-tree-", dir="/dev/shm") as name:
        root = pathlib.Path(name)
        for part in ("proc", "sys", "run"):
            shutil.copytree(FIXTURES / part, root / part, copy_function=shutil.copyfile)
        (root / "proc/2077/fd").mkdir()
        os.symlink("/dev/dri/renderD128", root / "proc/2077/fd/5")
        (root / "dev").mkdir()
        yield Roots(*(str(root / part) for part in ("proc", "sys", "run", "dev")))


@pytest.fixture
def tree_v1(tree, put):
    """The same with a v1 cgroup hierarchy."""
    shutil.rmtree(f"{tree.sys}/fs/cgroup")
    groups = {"system.slice": 50_000_000, "system.slice/web.service": 40_000_000, "lxc": 9_000_000}
    for group, held in groups.items():
        put(
            f"{tree.sys}/fs/cgroup",
            {
                f"memory/{group}/memory.usage_in_bytes": f"{held}\n",
                f"cpuacct/{group}/cpuacct.usage": "6000000\n",
                f"blkio/{group}/blkio.throttle.io_service_bytes_recursive": (
                    "254:0 Read 4096\n254:0 Write 0\n254:0 Total 4096\nTotal 4096\n"
                ),
            },
        )
    return tree


@pytest.fixture
def plain():
    """A function that builds all sources and takes them off their threads."""

    def make(roots):
        return [s.source if isinstance(s, Slow) else s for s in build(roots)]

    return make

"""What really runs in the gym's units: commands of ordinary packages, and load.c.

Owns: the command lines, what they need on disk and which programs must be installed.
Does not know: control groups, or when a unit starts and ends.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from jepad.errors import SettingError
from jepad.learn.gym.schedule import Unit

#: Programs of each workload, and the Debian package they are in.
_NEEDS: Mapping[str, Mapping[str, str]] = {
    "": {"gcc": "gcc", "setpriv": "util-linux", "timeout": "coreutils"},
    "compile": {"gcc": "gcc"},
    "sqlite": {"sqlite3": "sqlite3"},
    "archive": {"tar": "tar", "xz": "xz-utils", "zstd": "zstd"},
    "postgres": {"pgbench": "postgresql-contrib", "runuser": "util-linux"},
}
_POSTGRES = "/usr/lib/postgresql"
_FILES = 64
_SOURCES = 24
#: Bytes that streams and maps read: more than any group may hold.
_PAGES_MIB = 640
#: A file without blocks, larger than this machine's memory: reading it fills the page cache.
_HOLE_MIB = 32 * 1024
_MADE = ".made"
_PATIENCE_S = 120


@dataclass(frozen=True, slots=True)
class Job:
    """One process tree of a unit."""

    argv: tuple[str, ...]
    name: str  # of its labels
    inside: bool = True  # a client stays outside the group whose service it asks
    asks: bool = False  # what it measures is a service's latency
    tells: bool = True  # prints its operations


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the loads work, and what all of one session share."""

    place: str  # directory with the material; sessions work in `place`/session
    seed: int

    @property
    def work(self) -> str:
        """The session's own directory, made and removed with it."""
        return os.path.join(self.place, "session")

    def file(self, name: str) -> str:
        """A piece of the material."""
        return os.path.join(self.place, name)


def check(workloads: Collection[str]) -> None:
    """SettingError that names the packages missing, with the line that installs them."""
    missing = {
        package
        for workload in ("", *workloads)
        for program, package in _NEEDS.get(workload, {}).items()
        if shutil.which(program) is None
    }
    if "postgres" in workloads and not os.path.isdir(_POSTGRES):
        missing.add("postgresql")
    if missing:
        names = " ".join(sorted(missing))
        raise SettingError(f"the gym's loads need {names}: apt-get install {names}")


def prepare(place: str, workloads: Collection[str]) -> None:
    """Make the material of these workloads once: load, sources, files to serve and to read."""
    if os.path.exists(os.path.join(place, _MADE)):
        return
    rng = random.Random("jepad gym material")
    noise = rng.randbytes(1 << 20)
    _compile(os.path.join(place, "load"))
    if {"files", "archive"} & {*workloads}:
        os.makedirs(os.path.join(place, "served"), exist_ok=True)
        for i in range(_FILES):
            size = rng.randint(1 << 20, 4 << 20)
            _fill(os.path.join(place, "served", f"f{i}"), noise, size)
    if {"stream", "thrash"} & {*workloads}:
        _fill(os.path.join(place, "pages"), noise, _PAGES_MIB << 20)
    with open(os.path.join(place, "hole"), "wb") as f:
        f.truncate(_HOLE_MIB << 20)
    for i in range(_SOURCES):
        with open(os.path.join(place, f"part{i}.c"), "w") as source:
            source.write(_source(rng, i))
    with open(os.path.join(place, "table.sql"), "w") as script:
        script.write(_SQL)
    with open(os.path.join(place, _MADE), "w"):
        pass


def evict(place: str) -> None:
    """Out of the page cache with the material: the group that reads it pays for it."""
    for directory, _, names in os.walk(place):
        for name in names:
            with open(os.path.join(directory, name), "rb") as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _compile(target: str) -> None:
    source = os.path.join(os.path.dirname(__file__), "load.c")
    argv = ["gcc", "-std=gnu11", "-O2", "-o", target, source]
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_PATIENCE_S)
    except subprocess.CalledProcessError as error:
        raise SettingError(f"{source}: gcc failed: {error.stderr:.300}") from error


def _fill(path: str, noise: bytes, size: int) -> None:
    with open(path, "wb") as f:
        for at in range(0, size, len(noise)):
            f.write(noise[: size - at])
        # Dirty pages can't be evicted later.
        f.flush()
        os.fdatasync(f.fileno())


def _source(rng: random.Random, i: int) -> str:
    """C that takes a compiler a second or two and some ten MB."""
    lines = [
        "#include <math.h>",
        "#include <stdio.h>",
        "#include <stdlib.h>",
        "#include <string.h>",
    ]
    for n in range(rng.randint(60, 200)):
        a, b, c = (rng.randint(2, 97) for _ in range(3))
        lines += [
            f"double part{i}_{n}(const double *x, int k) {{",
            f"\tdouble s = {a};",
            f"\tfor (int i = 0; i < k; i++) {{ s = s * x[i % {b}] + sin(s / {c}) - (i ^ {a}); }}",
            f"\tswitch (k % {b}) {{ case 0: return s + {c}; case 1: return s * {a};",
            f'\tcase 2: printf("%f", s); return fabs(s); default: return s - {b}; }}',
            "}",
        ]
    return "\n".join(lines) + "\n"


_SQL = """PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
PRAGMA cache_size=-8000;
CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, k INTEGER, v BLOB);
CREATE INDEX IF NOT EXISTS tk ON t (k);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO t (k, v) SELECT abs(random()) % 100000, randomblob(700) FROM n;
SELECT count(*), sum(length(v)), max(k) FROM t WHERE k BETWEEN 1000 AND 60000;
UPDATE t SET v = randomblob(700) WHERE k % 97 = 5;
SELECT k % 16, count(*), avg(length(v)) FROM t GROUP BY 1;
DELETE FROM t WHERE (SELECT count(*) FROM t) > 200000;
"""


def jobs(unit: Unit, bench: Bench) -> list[Job]:
    """The processes of a unit."""
    return _MAKERS[unit.workload](unit, bench)


def _load(unit: Unit, bench: Bench, share: float, *words: str) -> list[Job]:
    """load.c in a kind named as the workload, with `share` of the unit's memory."""
    size = max(8, int(unit.memory_mib * share))
    argv = (bench.file("load"), unit.workload, f"seed={bench.seed}", f"size={size}", *words)
    return [Job(argv, unit.workload)]


def _loop(unit: Unit, body: str, *words: str) -> list[Job]:
    """A shell loop that counts its rounds; $1, $2, ... are `words`."""
    script = f'n=0; told() {{ n=$((n+1)); echo "$n"; }}; while :; do {body}; done'
    return [Job(("/bin/sh", "-c", script, "sh", *words), unit.workload)]


def _compiler(unit: Unit, bench: Bench) -> list[Job]:
    body = 'for f in "$1"/part*.c; do gcc -O2 -w -c "$f" -o "$2/part.o"; told; done'
    return _loop(unit, body, bench.place, bench.work)


def _database(unit: Unit, bench: Bench) -> list[Job]:
    return _loop(
        unit, 'sqlite3 "$2/base" < "$1" > /dev/null; told', bench.file("table.sql"), bench.work
    )


def _archiver(unit: Unit, bench: Bench) -> list[Job]:
    library = os.path.dirname(os.__file__)
    body = (
        'tar cf - -C "$1" . 2>/dev/null | zstd -q -3 -f -o "$2/a.zst"; '
        'zstd -q -dc "$2/a.zst" | tar xf - -C "$2" 2>/dev/null; rm -rf "$2/served"; '
        'tar cf - -C "$3" json email encodings asyncio | xz -2 > "$2/b.xz"; xz -t "$2/b.xz"; told'
    )
    return _loop(unit, body, bench.file("served"), os.path.join(bench.work, "archive"), library)


def _file_service(unit: Unit, bench: Bench) -> list[Job]:
    port = str(_free_port())
    served = bench.file("served")
    server = (sys.executable, "-m", "http.server", port, "-b", "127.0.0.1", "-d", served)
    client = (bench.file("load"), "ask", f"port={port}", "path=/f", f"seed={bench.seed}")
    return [
        Job(server, "server", tells=False),
        Job(client, unit.workload, inside=False, asks=True),
    ]


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _postgres(unit: Unit, bench: Bench) -> list[Job]:
    version = max(os.listdir(_POSTGRES), key=lambda v: int(v) if v.isdigit() else 0)
    # The server refuses root. Latency comes from pgbench's progress, one line a second.
    script = (
        'cd "$1"; export PATH="$2:$PATH" PGHOST="$1" PGUSER=gym PGDATABASE=postgres; '
        'initdb -D "$1/d" -U gym -N -A trust > /dev/null && '
        '{ postgres -D "$1/d" -k "$1" -c listen_addresses= -c shared_buffers=24MB '
        "-c fsync=off -c max_connections=8 > /dev/null 2>&1 & } ; "
        "until pgbench -q -i -s 8 > /dev/null 2>&1; do sleep 1; done; "
        "exec pgbench -n -c 2 -R 20 -P 1 -T 100000 2>&1"
    )
    place = os.path.join(bench.work, "postgres")
    binaries = os.path.join(_POSTGRES, version, "bin")
    argv = ("runuser", "-u", "postgres", "--", "/bin/sh", "-c", script, "sh", place, binaries)
    return [Job(argv, unit.workload, asks=True)]


_MAKERS: Mapping[str, Callable[[Unit, Bench], list[Job]]] = {
    "compile": _compiler,
    "sqlite": _database,
    "files": _file_service,
    "archive": _archiver,
    "postgres": _postgres,
    "stream": lambda u, b: _load(u, b, 1.3, f"file={b.file('pages')}", "rate=60"),
    "leak": lambda u, b: _load(u, b, 0.7, "rate=4"),
    "hog": lambda u, b: _load(u, b, 0.5),
    "burst": lambda u, b: _load(u, b, 0.6),
    "idle": lambda u, b: _load(u, b, 0.5),
    "thrash": lambda u, b: _load(u, b, 1.8, f"file={b.file('pages')}"),
    "flood": lambda u, b: [
        Job(
            (
                b.file("load"),
                "flood",
                f"seed={b.seed}",
                f"size={_HOLE_MIB}",
                "rate=350",
                f"file={b.file('hole')}",
            ),
            u.workload,
        )
    ],
}


def clear(bench: Bench) -> None:
    """An empty directory for a session."""
    shutil.rmtree(bench.work, ignore_errors=True)
    for name in ("archive", "postgres"):
        os.makedirs(os.path.join(bench.work, name))
    if os.path.isdir(_POSTGRES):
        owner = pwd.getpwnam("postgres")
        os.chown(os.path.join(bench.work, "postgres"), owner.pw_uid, owner.pw_gid)

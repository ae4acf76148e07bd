"""What goes over the network interfaces, and how TCP fares.

Owns: /proc/net/dev, sockstat and snmp of the daemon's own network namespace.
Does not know: who talks to whom.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import KernelFile, answers, numbers, whole_lines, word

#: Series and the columns of /proc/net/dev it sums.
_FIELDS = {"rxB": (0,), "rxp": (1,), "txB": (8,), "txp": (9,), "err": (2, 10), "drop": (3, 11)}
_INTERFACES = 6
#: Ends of containers and of virtual switches: they come and go, and the real card shows the sum.
_SKIP = re.compile(r"(veth|docker|br-|virbr|vnet|tap|ifb|dummy|cali|cni|flannel|lxc).*")


class Network:
    """Bytes, packets, errors and drops of the first interfaces, hardware before software."""

    name = "network"

    def __init__(self, roots: Roots) -> None:
        """Name the files."""
        self._dev = KernelFile(f"{roots.proc}/net/dev")
        self._sockstat = KernelFile(f"{roots.proc}/net/sockstat")
        self._snmp = KernelFile(f"{roots.proc}/net/snmp")
        self._class = f"{roots.sys}/class/net"
        self._interfaces: list[tuple[bytes, tuple[str, ...]]] = []
        self._tcp: list[tuple[KernelFile, Callable[[bytes], dict[str, float]]]] = []

    def describe(self) -> tuple[Series, ...]:
        """Interfaces there are now."""
        try:
            names = [n for n in self._dev.parse(_names) if not _SKIP.fullmatch(n)]
        except SourceError:
            names = []
        names.sort(key=lambda n: not os.path.exists(f"{self._class}/{n}/device"))
        names = names[:_INTERFACES]
        self._interfaces = [
            (f"\n{name:>6}:".encode(), tuple(f"net.{word(name)}.{f}" for f in _FIELDS))
            for name in names
        ]
        series = [
            Series(name, "B" if name.endswith("B") else "packet", "counter")
            for _, fields in self._interfaces
            for name in fields
        ]
        return (*series, *self._describe_tcp())

    def _describe_tcp(self) -> list[Series]:
        series: list[Series] = []
        self._tcp = []
        if answers(lambda: self._sockstat.parse(_sockets)):
            self._tcp.append((self._sockstat, _sockets))
            series += [Series("tcp.inuse", "", "gauge"), Series("tcp.tw", "", "gauge")]
        if answers(lambda: self._snmp.parse(_retransmitted)):
            self._tcp.append((self._snmp, _retransmitted))
            series += [Series("tcp.retrans", "packet", "counter")]
        return series

    def read(self) -> dict[str, float]:
        """Counters since the interface came up."""
        values = self._dev.parse(self._parse) if self._interfaces else {}
        for file, parser in self._tcp:
            values.update(file.parse(parser))
        return values

    def _parse(self, data: bytes) -> dict[str, float]:
        whole_lines(data)
        values: dict[str, float] = {}
        for needle, names in self._interfaces:
            at = data.find(needle)
            if at >= 0:
                at += len(needle)
                row = numbers(data[at : data.index(b"\n", at)].split())
                sums = (sum(row[i] for i in columns) for columns in _FIELDS.values())
                values.update(zip(names, sums, strict=True))
        if not values:
            raise ValueError("no line of any interface known")
        return values


def _names(data: bytes) -> list[str]:
    lines = whole_lines(data).splitlines()[2:]
    return [os.fsdecode(line[: line.rindex(b":")].strip()) for line in lines]


def _sockets(data: bytes) -> dict[str, float]:
    at = data.index(b"TCP: inuse ")
    fields = data[at : data.index(b"\n", at)].split()
    found = dict(zip(fields[1::2], fields[2::2], strict=True))
    return dict(zip(("tcp.inuse", "tcp.tw"), numbers((found[b"inuse"], found[b"tw"])), strict=True))


def _retransmitted(data: bytes) -> dict[str, float]:
    at = data.index(b"\nTcp: ")
    names, row = data[at + 1 :].split(b"\n", 2)[:2]
    return {"tcp.retrans": numbers((row.split()[names.split().index(b"RetransSegs")],))[0]}

"""What a series is, by its name alone: for traces, which carry names and nothing else.

Owns: the table of names. A test holds every source's own declaration against it.
Does not know: which series there are on this machine.
"""

from __future__ import annotations

import re

from jepad.records import Semantics, Series

#: Names other recorders gave to the same files.
_ALIASES = (
    (re.compile(r"psi\.mem\.(some|full)"), r"psi.memory.\1.total"),
    (re.compile(r"psi\.(cpu|io)\.(some|full)"), r"psi.\1.\2.total"),
    (re.compile(r"(cpu\d*)\.sys"), r"\1.system"),
)
#: The first pattern that matches the whole name tells; no match: a gauge without unit.
_RULES: tuple[tuple[str, str, Semantics], ...] = (
    (r"cpu\d*\.(user|nice|system|idle|iowait|irq|softirq|steal|busy)", "tick", "counter"),
    (r"intr|ctxt|processes|softirq", "event", "counter"),
    (r"mem\..+", "KiB", "gauge"),
    (r"vm\.nr_.+", "page", "gauge"),
    (r"vm\..+", "event", "counter"),
    (r"psi\..+\.total", "us", "counter"),
    (r"psi\..+\.avg\d+", "%", "gauge"),
    (r"disk\..+\.(rd|rdm|wr|wrm)", "event", "counter"),
    (r"disk\..+\.(rds|wrs)", "sector", "counter"),
    (r"disk\..+\.(rdt|wrt|iot|wiot)", "ms", "counter"),
    (r"net\..+\.(rx|tx)B", "B", "counter"),
    (r"net\..+\.(rxp|txp|err|drop)|tcp\.retrans", "packet", "counter"),
    (r"cgroup\..+\.memory_current", "B", "gauge"),
    (r"cgroup\..+\.(cpu_usage|(memory|cpu|io)_pressure)", "us", "counter"),
    (r"cgroup\..+\.io_bytes", "B", "counter"),
    (r"fs\..+\.(used|files)", "%", "gauge"),
    (r"proc\.\d+\.rss", "B", "gauge"),
    (r"proc\.\d+\.cpu", "%", "gauge"),
    (r"proc\.growth", "B/s", "gauge"),
    (r"freq\..+", "MHz", "gauge"),
    (r"temp\..+", "degC", "gauge"),
    (r"fan\..+", "rpm", "gauge"),
    (r"power\..+\.energy", "J", "counter"),
    (r"power\..+\.charge", "%", "gauge"),
    (r"power\..+\.stored", "Wh", "gauge"),
    (r"power\..+\.online", "", "gauge"),
    (r"power\..+", "W", "gauge"),
    (r"gpu.*\.util", "%", "gauge"),
    (r"gpu.*\.mem", "B", "gauge"),
    (r"gpu.*\.temp", "degC", "gauge"),
    (r"gpu.*\.power", "W", "gauge"),
    (r"gpu.*\.clock", "MHz", "gauge"),
    (r"ops|selfcpu_ms|label\..+\.ops|label\.oom_kills", "", "counter"),
)


def canonical(name: str) -> str:
    """The name a source here gives to the same thing."""
    for pattern, ours in _ALIASES:
        if pattern.fullmatch(name):
            return pattern.sub(ours, name)
    return name


def named(name: str) -> Series:
    """The series of this name."""
    name = canonical(name)
    for pattern, unit, semantics in _RULES:
        if re.fullmatch(pattern, name):
            return Series(name, unit, semantics)
    return Series(name, "", "gauge")

"""The interfaces we serve, read from their hand-written XML, which is also what we show.

Owns: members, signatures and annotations as declared. Does not know: who answers.
The files are dbus/interfaces/*.xml, package data under `jepad/bus/interfaces`.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

DIRECTORY = os.path.join(os.path.dirname(__file__), "interfaces")
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


@dataclass(frozen=True, slots=True)
class Method:
    """Signatures of the arguments and of the answer."""

    takes: str
    gives: str


@dataclass(frozen=True, slots=True)
class Property:
    """`emits` is its EmitsChangedSignal: true, invalidates, const or false."""

    signature: str
    writable: bool
    emits: str


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface; `xml` is its declaration without comments."""

    name: str
    methods: dict[str, Method]
    properties: dict[str, Property]
    signals: dict[str, str]
    xml: str


@cache
def load(name: str) -> Interface:
    """The interface of that name, from the file of that name."""
    path = os.path.join(DIRECTORY, f"{name}.xml")
    root = ET.parse(path).getroot()  # noqa: S314 our own file, not foreign XML
    element = root.find("interface")
    if element is None or element.get("name") != name:
        raise ValueError(f"{path} does not declare {name}")
    return Interface(
        name=name,
        methods={
            m.attrib["name"]: Method(_signature(m, "in"), _signature(m, "out"))
            for m in element.iter("method")
        },
        properties={p.attrib["name"]: _property(p) for p in element.iter("property")},
        signals={s.attrib["name"]: _signature(s, "out") for s in element.iter("signal")},
        xml=ET.tostring(element, encoding="unicode").rstrip() + "\n",
    )


def node(interfaces: Iterable[Interface], children: Iterable[str]) -> str:
    """The introspection document of one object."""
    parts = [DOCTYPE, "<node>\n", *("  " + i.xml for i in interfaces)]
    parts += [f'  <node name="{child}"/>\n' for child in children]
    return "".join([*parts, "</node>\n"])


def _signature(member: ET.Element, direction: str) -> str:
    default = "out" if member.tag == "signal" else "in"
    args = member.iter("arg")
    return "".join(a.attrib["type"] for a in args if a.get("direction", default) == direction)


def _property(element: ET.Element) -> Property:
    emits = {a.attrib["name"]: a.attrib["value"] for a in element.iter("annotation")}
    access = element.attrib["access"]
    return Property(element.attrib["type"], "write" in access, emits.get(EMITS, "true"))

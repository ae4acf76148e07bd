"""The standard interfaces, for every object alike: Peer, Introspectable, Properties, ObjectManager.

Owns: nothing but the standard's rules. Does not know: what the properties mean.
"""

from __future__ import annotations

from jepad.bus import schema
from jepad.bus.dispatch import Adapter, Answer, Call, Rejection, Run, Tree
from jepad.bus.seam import Variant
from jepad.errors import NotFound

MACHINE_ID = "/etc/machine-id"


def install(tree: Tree) -> None:
    """Put the standard interfaces on all objects of a tree."""
    standard = Standard(tree)
    table: dict[str, dict[str, Run]] = {
        "Introspectable": {"Introspect": standard.introspect},
        "Peer": {"Ping": standard.ping, "GetMachineId": standard.machine_id},
        "Properties": {"Get": standard.get, "Set": standard.set, "GetAll": standard.get_all},
    }
    for name, methods in table.items():
        full = f"org.freedesktop.DBus.{name}"
        tree.common[full] = Adapter(schema.load(full), methods)


def object_manager(tree: Tree) -> Adapter:
    """org.freedesktop.DBus.ObjectManager for the root of our objects."""
    standard = Standard(tree)
    return Adapter(
        schema.load("org.freedesktop.DBus.ObjectManager"),
        {"GetManagedObjects": standard.managed_objects},
    )


def values(adapter: Adapter) -> dict[str, Variant]:
    """All properties of an interface."""
    return {name: _value(adapter, name) for name in adapter.getters}


class Standard:
    """Answers from the tree alone."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._documents: dict[str, str] = {}
        self._changes = tree.changes

    def ping(self, _call: Call) -> Answer:
        """We live."""
        return Answer()

    def machine_id(self, _call: Call) -> Answer:
        """The machine's id, as the bus itself would say."""
        try:
            with open(MACHINE_ID) as file:
                return Answer([file.read(64).strip()])
        except OSError as error:
            raise NotFound(f"no machine id: {error}") from error

    def introspect(self, call: Call) -> Answer:
        """The object's XML; made once, unless an object came or went."""
        if self._changes != self._tree.changes:
            self._changes = self._tree.changes
            self._documents.clear()
        if call.path not in self._documents:
            adapters = self._tree.at(call.path).values()
            self._documents[call.path] = schema.node(
                [a.interface for a in adapters], self._tree.children(call.path)
            )
        return Answer([self._documents[call.path]])

    def get(self, call: Call, interface: str, name: str) -> Answer:
        """One property."""
        adapter = self._adapter(call, interface, name)
        return Answer([_value(adapter, name)])

    def set(self, call: Call, interface: str, name: str, value: Variant) -> Answer:
        """Set one property; who may is for its setter to say."""
        adapter = self._adapter(call, interface, name)
        declared = adapter.interface.properties[name]
        if not declared.writable:
            raise Rejection("PropertyReadOnly", f"{interface}.{name} can't be set")
        if value.signature != declared.signature:
            raise Rejection(
                "InvalidArgs", f"{name} is of type {declared.signature}, not {value.signature}"
            )
        adapter.setters[name](call, value.value)
        return Answer()

    def get_all(self, call: Call, interface: str) -> Answer:
        """All properties of an interface; of the empty name, those of all."""
        if interface:
            return Answer([values(self._adapter(call, interface))])
        every: dict[str, Variant] = {}
        for adapter in self._tree.at(call.path).values():
            adapter.admit(call)
            every.update(values(adapter))
        return Answer([every])

    def managed_objects(self, call: Call) -> Answer:
        """Every object below that the caller may see, with its properties."""
        below = call.path.rstrip("/") + "/"
        found = {
            path: {name: values(adapter) for name, adapter in adapters.items()}
            for path, adapters in self._tree.objects.items()
            if path.startswith(below) and all(_admitted(a, call) for a in adapters.values())
        }
        return Answer([found])

    def _adapter(self, call: Call, interface: str, name: str | None = None) -> Adapter:
        adapters = self._tree.at(call.path)
        if not interface:
            adapter = next((a for a in adapters.values() if name in a.getters), None)
        else:
            adapter = adapters.get(interface)
        if adapter is None and interface:
            raise Rejection("UnknownInterface", f"no interface {interface[:255]} at {call.path}")
        if adapter is None or (name is not None and name not in adapter.getters):
            raise Rejection("UnknownProperty", f"no property {(name or '')[:255]} at {call.path}")
        adapter.admit(call)
        return adapter


def _admitted(adapter: Adapter, call: Call) -> bool:
    try:
        adapter.admit(call)
    except Rejection:
        return False
    return True


def _value(adapter: Adapter, name: str) -> Variant:
    return Variant(adapter.interface.properties[name].signature, adapter.getters[name]())

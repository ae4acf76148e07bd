"""Finding the bus, calling, refusing: on a real private bus with a real peer."""

import os
import socket
import threading

import pytest

from jepad import errors, paths
from jepad.cli import bus as client
from jepad.cli.bus import ROOT, Absent, Client, Connection

MANAGER = "org.jepad1.Manager"


def test_the_session_bus_is_found_by_its_address(on_bus):
    found = Client()
    assert found.call(MANAGER, "Describe")[0].startswith('{"state": "running"')
    assert found.which == "session"


def test_the_system_bus_is_asked_first(on_bus, bus, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus)
    assert Client().which == "system"
    assert Client("session").which == "session"


def test_a_bus_without_jepad_is_passed_over(environment, bus, monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus)
    with pytest.raises(Absent, match=r"nobody owns org.jepad1\)"):
        Client().call(MANAGER, "Describe")


def test_the_address_that_jepad_left_is_used(environment, bus, peer):
    os.makedirs(client.runtime())
    with open(f"{client.runtime()}/bus-address", "w") as file:
        file.write(bus + "\n")
    assert Client().which == "session"


def test_an_address_left_by_another_user_is_not(environment, bus, peer):
    os.makedirs(client.runtime())
    path = f"{client.runtime()}/bus-address"
    with open(path, "w") as file:
        file.write(bus)
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        os.unlink(path)
        os.symlink("/etc/hostname", path)  # root's, and no address
    with pytest.raises(Absent):
        Client().call(MANAGER, "Describe")


def test_runtime_is_that_of_paths(environment, monkeypatch):
    assert client.runtime() == paths.session().runtime
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert client.runtime() == paths.session().runtime
    assert (client.NAME, client.ROOT) == (paths.BUS_NAME, paths.OBJECT_PATH)


def test_errors_keep_their_kind(on_bus):
    ask = ("org.jepad1.WorldModel", "Predict", "sta{sv}")
    found = Client()
    with pytest.raises(errors.NotFound, match="no series of gpu here"):
        found.call(*ask, "gpu", 1, {})
    with pytest.raises(errors.SettingError, match="out of range"):
        found.call(*ask, "bad", 1, {})
    with pytest.raises(errors.BusError, match="UnknownMethod"):
        found.call(MANAGER, "Nonsense")
    assert found.call(*ask, "cpu", 5, {})[0]["horizon_usec"] == 5


def test_every_call_has_a_deadline(on_bus, monkeypatch):
    found = Client()
    assert found.which
    monkeypatch.setattr(client, "DEADLINE_S", 0.2)
    with pytest.raises(errors.BusError, match="no answer"):
        found.call(MANAGER, "Slow")


def test_a_bus_that_never_answers_is_given_up(environment, tmp_path, monkeypatch):
    path = f"{tmp_path}/mute"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        monkeypatch.setattr(client, "DEADLINE_S", 0.2)
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={path}")
        with pytest.raises(Absent, match="did not answer"):
            Client("session").call(MANAGER, "Describe")


def test_a_bus_that_talks_nonsense_is_an_error(environment, tmp_path, monkeypatch):
    path = f"{tmp_path}/mad"

    def serve(server):
        peer, _ = server.accept()
        with peer:
            peer.recv(4096)
            peer.sendall(b"OK 0123\r\nAGREE_UNIX_FD\r\n" + b"l\x02\0\x01" + b"\xff" * 12)
            while peer.recv(4096):
                pass

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        connection = Connection("session", f"unix:path={path}")
        with pytest.raises(errors.BusError, match="can't be read"):
            connection.call((client.NAME, ROOT, MANAGER, "Describe"))
        connection.close()
        thread.join(10)


def test_a_bus_that_ends_is_an_error(on_bus, peer):
    found = Client()
    assert found.which
    peer.kill()
    peer.wait(10)
    with pytest.raises(errors.BusError):
        found.call(MANAGER, "Describe")


def test_signals_wait_while_calls_are_made(on_bus):
    found = Client()
    found.connection.match("type='signal',sender='org.jepad1'")
    for _ in range(3):
        found.call(MANAGER, "Raise")
    members = [found.connection.signal(5).member for _ in range(9)]
    assert members.count("PredictionRaised") == 3
    assert found.connection.signal(5).member == "PredictionCleared"  # NameAcquired came first
    assert found.connection.signal(0.05) is None


@pytest.mark.parametrize(
    "address", ["", "tcp:host=localhost,port=1", "unix:", "nonsense", "unix:path"]
)
def test_addresses_that_are_of_no_use(environment, monkeypatch, address):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    with pytest.raises(Absent):
        Client("session").call(MANAGER, "Describe")


def test_an_abstract_socket_is_reached(tmp_path):
    assert client._path("unix:abstract=/tmp/x%2cy,guid=1") == b"\0/tmp/x,y"
    assert client._path("tcp:host=a;unix:path=/a%20b") == b"/a b"

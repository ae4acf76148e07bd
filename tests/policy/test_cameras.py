"""Cameras: nothing is opened without consent, and what is allowed runs as long as it is there."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from jepad.errors import NotFound, SettingError
from tests.policy.looking import OTHER, WEBCAM, World


def run(body):
    return asyncio.run(body)


def states(world):
    return {live.name: live.state for live in world.cameras.all()}


def test_an_unknown_camera_is_told_and_nothing_is_opened(tmp_path):
    async def body():
        world = World(tmp_path)
        world.devices = [WEBCAM]
        await world.poll()
        await world.poll()
        return world

    world = run(body())
    assert world.told == [("came", "hd_webcam"), ("found", "hd_webcam", WEBCAM.identity)]
    assert states(world) == {"hd_webcam": "unknown"}
    assert not world.processes
    assert not os.path.exists(world.consent.path)


def test_an_unknown_camera_that_is_pulled_is_forgotten(tmp_path):
    async def body():
        world = World(tmp_path)
        world.devices = [WEBCAM]
        await world.poll()
        world.devices = []
        await world.poll()
        return world

    assert run(body()).told[-1] == ("gone", "hd_webcam")


def test_an_allowed_one_runs_when_plugged_and_ends_when_pulled(tmp_path):
    async def body():
        world = World(tmp_path)
        world.devices = [WEBCAM, OTHER]
        await world.poll()
        await world.cameras.allow("hd_webcam", True)
        first = dict(states(world))
        world.devices = [OTHER]
        await world.poll()
        second = dict(states(world))
        world.devices = [OTHER, WEBCAM]
        await world.poll()
        return world, first, second, states(world)

    world, first, second, third = run(body())
    assert first == third == {"hd_webcam": "running", "other": "unknown"}
    assert second == {"hd_webcam": "unplugged", "other": "unknown"}
    assert [p.said for p in world.processes] == [["start", "stop"], ["start"]]
    assert world.processes[0].settings.source == "/dev/video0"


def test_a_consent_outlives_the_daemon_and_follows_the_device_not_its_node(tmp_path):
    async def body():
        world = World(tmp_path)
        world.devices = [WEBCAM]
        await world.cameras.add("/dev/video0", {"name": "door", "allow": True})
        await world.cameras.close()
        again = World(tmp_path)
        again.devices = [type(WEBCAM)("video4", WEBCAM.identity, WEBCAM.product)]
        await again.poll()
        return world, again

    world, again = run(body())
    assert world.processes[0].said == ["start", "leave"]
    assert again.process("door").settings.source == "/dev/video4"
    assert states(again) == {"door": "running"}


def test_another_device_at_the_same_node_is_not_allowed(tmp_path):
    async def body():
        world = World(tmp_path)
        world.devices = [WEBCAM]
        await world.cameras.add("/dev/video0", {"name": "door", "allow": True})
        world.devices = [type(WEBCAM)("video0", OTHER.identity, OTHER.product)]
        await world.poll()
        return world

    world = run(body())
    assert states(world) == {"door": "unplugged", "other": "unknown"}
    assert world.process("door").said == ["start", "stop"]
    assert len(world.processes) == 1


def test_the_same_device_at_another_node_is_opened_there(tmp_path):
    async def body():
        world = World(tmp_path)
        world.devices = [WEBCAM]
        await world.cameras.add("/dev/video0", {"name": "door", "allow": True})
        world.devices = [type(WEBCAM)("video4", WEBCAM.identity, WEBCAM.product)]
        await world.poll()
        return world

    world = run(body())
    assert [p.settings.source for p in world.processes] == ["/dev/video0", "/dev/video4"]
    assert world.processes[0].said == ["start", "stop"]


@pytest.mark.parametrize("spec", ["file:/films/a.mp4", "lavfi:testsrc"])
def test_a_recording_is_allowed_by_being_added(tmp_path, spec):
    async def body():
        world = World(tmp_path)
        live = await world.cameras.add(spec, {"fps": 8.0})
        return world, live

    world, live = run(body())
    assert live.state == "running"
    assert world.processes[0].settings.fps == 8.0
    assert world.processes[0].settings.source == spec


@pytest.mark.parametrize("spec", ["rtsp://u:secret@cam.lan/live", "/dev/video0"])
def test_what_may_have_somebody_in_front_of_it_waits(tmp_path, spec):
    async def body():
        world = World(tmp_path)
        world.devices = [WEBCAM]
        live = await world.cameras.add(spec, {})
        before = live.state
        await world.cameras.allow(live.name, True)
        return world, live, before

    world, live, before = run(body())
    assert before == "denied"
    assert live.state == "running"
    assert "secret" not in live.shown + live.identity_shown
    assert world.processes[0].settings.source == spec


def test_a_consent_taken_back_ends_it_and_somebody_in_view_has_left(tmp_path):
    async def body():
        world = World(tmp_path)
        await world.cameras.add("file:/a.mp4", {})
        world.process("a").sees(present=True)
        await world.cameras.poll()
        occupied = world.cameras.occupied()
        await world.cameras.allow("a", False)
        await world.cameras.poll()
        return world, occupied

    world, occupied = run(body())
    assert occupied == ["a"]
    assert world.told == [("came", "a"), ("arrived", "a"), ("left", "a")]
    assert world.process("a").said == ["start", "stop"]
    assert states(world) == {"a": "denied"}
    assert not json.loads(Path(world.consent.path).read_text())["cameras"][0].get("allowed")


def test_a_consent_taken_back_in_the_file_is_obeyed(tmp_path):
    async def body():
        world = World(tmp_path)
        await world.cameras.add("file:/a.mp4", {})
        world.consent.allow("a", False)
        await world.poll()
        return world

    assert states(run(body())) == {"a": "denied"}


@pytest.mark.parametrize("text", ["{", '{"cameras": 3}', '{"version": 2}'])
def test_a_damaged_file_stops_all_and_is_not_written_over(tmp_path, text):
    async def body():
        world = World(tmp_path)
        await world.cameras.add("file:/a.mp4", {})
        with open(world.consent.path, "w") as file:
            file.write(text)
        world.devices = [WEBCAM]
        await world.poll()
        with pytest.raises(SettingError):
            await world.cameras.allow("a", True)
        return world

    world = run(body())
    assert world.process("a").said == ["start", "stop"]
    assert states(world) == {"a": "denied"}
    assert "damaged" in world.cameras.fault
    assert Path(world.consent.path).read_text() == text


def test_removed_is_forgotten_and_plugged_in_unknown_again(tmp_path):
    async def body():
        world = World(tmp_path)
        world.devices = [WEBCAM]
        await world.cameras.add("/dev/video0", {"name": "door", "allow": True})
        await world.cameras.remove("door")
        return world

    world = run(body())
    assert states(world) == {"hd_webcam": "unknown"}
    assert world.process("door").said == ["start", "stop"]
    assert not world.consent.cameras()


def test_what_is_refused(tmp_path):
    async def body():
        world = World(tmp_path)
        world.devices = [WEBCAM]
        await world.cameras.add("file:/a.mp4", {})
        await world.poll()
        add = world.cameras.add
        for spec, options, error, words in (
            ("file:/a.mp4", {}, SettingError, "there already: camera a"),
            ("file:/b.mp4", {"name": "a"}, SettingError, "choose another name"),
            ("file:/b.mp4", {"name": "hd_webcam"}, SettingError, "choose another name"),
            ("file:/b.mp4", {"name": "A b"}, SettingError, "a name has"),
            ("file:/b.mp4", {"name": 3}, SettingError, "name is a string"),
            ("file:/b.mp4", {"allow": "yes"}, SettingError, "boolean"),
            ("file:/b.mp4", {"fps": 1e6}, SettingError, "fps"),
            ("file:/b.mp4", {"colour": "red"}, SettingError, "colour"),
            ("file:/b.mp4", {"source": "file:/c"}, SettingError, "source"),
            ("/dev/video7", {}, NotFound, "There are: /dev/video0"),
            ("/dev/sda", {}, SettingError, "use file:"),
        ):
            with pytest.raises(error, match=words):
                await add(spec, options)
        with pytest.raises(SettingError, match="unplug it"):
            await world.cameras.remove("hd_webcam")
        for ask in (world.cameras.remove("none"), world.cameras.allow("none", True)):
            with pytest.raises(NotFound, match="There are: a, hd_webcam"):
                await ask
        return world

    world = run(body())
    assert list(world.consent.cameras()) == ["a"]
    assert len(world.processes) == 1


def test_a_process_that_cannot_start_says_why_and_is_tried_again(tmp_path):
    async def body():
        world = World(tmp_path)
        world.fails = "no memory"
        live = await world.cameras.add("file:/a.mp4", {})
        first = live.state, live.reason
        world.fails = ""
        await world.poll()
        return first, live

    first, live = run(body())
    assert first == ("failed", "no memory")
    assert (live.state, live.reason) == ("running", "")


def test_readers_are_looked_up_seldom_and_told_by_camera(tmp_path):
    async def body():
        world = World(tmp_path)
        await world.cameras.add("file:/a.mp4", {})
        await world.cameras.add("file:/b.mp4", {})
        return world, [world.cameras.readers(name) for name in ("a", "b", "a")]

    world, (first, second, _) = run(body())
    assert world.readers == 1
    assert [r.stream for r in first.found] == ["frames.a", "motion.a"]
    assert [r.stream for r in second.found] == ["frames.b", "motion.b"]
    assert first.unseen == 2

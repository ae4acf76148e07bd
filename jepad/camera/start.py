"""From flags to a running camera.

Owns: what is built, in which order: all that needs files before the doors are shut, the first
byte of video after. Does not know the work itself.
"""

from __future__ import annotations

import argparse

from jepad import journal
from jepad.camera import confine, settings, source
from jepad.camera.capture import Capture
from jepad.camera.eye import Eye
from jepad.camera.guarded import Guarded
from jepad.camera.retention import Retention, discard
from jepad.camera.server import Camera, Server
from jepad.camera.streams import Streams
from jepad.errors import SettingError


def serve(args: argparse.Namespace) -> None:
    """Until stopped; JepadError says why it could not be."""
    journal.setup("jepad-camera")
    name = settings.named(args.name)
    wanted = settings.read(args.settings or f"{args.runtime}/camera-{name}.json")
    camera = _camera(args.prefix, name, wanted)
    server = Server(args.runtime, camera)  # from here on we are the only one of this name
    for stream in camera.streams.names:
        discard(args.prefix, stream)  # what a killed one left was perhaps filtered otherwise
    try:
        file = source.opened(camera.source.url) if camera.source.kind == "file" else -1
    except SettingError as error:  # it may be asked why, so it lives
        camera.capture.fail(str(error))
    else:
        server.barriers = confine.confine(camera.source, args.runtime, args.prefix)
        camera.capture.start(file)
    server.run()


def _camera(prefix: str, name: str, wanted: settings.CameraSettings) -> Camera:
    """Everything, with nothing opened yet."""
    try:
        import av
    except ImportError as error:
        raise SettingError(f"{error.name} is not installed: pip install 'jepad[video]'") from error
    av.logging.set_level(av.logging.PANIC)
    given = source.source(wanted.source, wanted.fps)
    streams = Streams(prefix, name, wanted)
    eye = Eye(wanted.size, Guarded(wanted), streams)
    capture = Capture(given, wanted, streams, eye)
    keep = Retention(wanted.retention_min, lambda: (streams.frames, streams.motion))
    return Camera(name, given, wanted, streams, eye, capture, keep.sweep)

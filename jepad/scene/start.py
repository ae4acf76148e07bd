"""From flags to a running scene engine.

Owns: what is built, in which order; on which device a model is loaded, and where it goes when that
is lost. Does not know the work itself.
"""

from __future__ import annotations

import argparse
import functools
import glob
import os

from jepad import journal
from jepad.errors import ModelError, NotFound, SettingError
from jepad.models import library
from jepad.models.library import Installed
from jepad.scene import budget, onnx
from jepad.scene.backend import Backend
from jepad.scene.budget import Budget
from jepad.scene.model import Model
from jepad.scene.placement import CPU, GPUS, Device, choose, cpu
from jepad.scene.serving.host import Host
from jepad.scene.serving.server import Options, Server
from jepad.scene.serving.work import Work

#: Of an accelerator, where nobody says otherwise.
ON_DEVICE = "bf16"


def serve(args: argparse.Namespace) -> None:
    """Until stopped; JepadError says why it could not be."""
    journal.setup("jepad-scene")
    try:
        installed = _installed(args.model, args.state)
        model = Model(installed.manifest)
        host = Host(functools.partial(_load, args, installed))
    except NotFound as error:  # a model, or a part of one: trying again brings none
        raise ModelError(str(error)) from error
    work = Work(model, args.prefix, budget.beside(installed, host.precision, args.memory_max))
    try:
        Server(Options(args.runtime, args.name), installed, work, host).run()
    finally:
        host.close()


def _installed(model: str, state: str) -> Installed:
    """By directory, or by name from the library."""
    if os.sep in model:
        return library.read(os.path.abspath(model))
    return library.find(library.library(state), model)


def _load(args: argparse.Namespace, installed: Installed, lost: tuple[str, ...]) -> Backend:
    """The model on the best device. A lost one stays lost to this process, as its context is.

    SettingError: a precision is asked for that isn't there; after a loss any is better than none.
    """
    devices = [d for d in _devices(args.device) if d.name == CPU or d.name not in lost]
    # The one that was asked for went away: then any is better than none.
    asked = args.device if not lost else "auto"

    def need(device: Device) -> int:
        return budget.needed(installed, _precision(args.precision, installed, device.name))

    device = choose(devices, need, asked)
    if args.memory_max:
        what = f"model {installed.manifest.name} on {device.name}"
        Budget(args.memory_max).check(need(device), device.free_bytes, what)
    precision = _precision(args.precision, installed, device.name)
    if args.precision and precision != args.precision and not lost:
        have = ", ".join(p for p in onnx.PRECISIONS if p in installed.manifest.precisions)
        raise SettingError(
            f"precision {args.precision!r} is not in model {installed.manifest.name} for "
            f"{device.name} (there are: {have}): name one of them, or import the model with it"
        )
    if device.name == CPU:
        return onnx.load(installed, precision, args.threads)
    from jepad.scene import cuda  # imports torch: seconds, and 220 MB

    return cuda.load(installed, device.name, precision, args.threads)


def _devices(asked: str) -> list[Device]:
    """Those there are; without torch, or where it finds none, the CPU alone."""
    found = [cpu()]
    if asked != CPU and glob.glob(GPUS):
        try:
            from jepad.scene import cuda
        except ImportError:
            return found
        found += cuda.devices()
    return found


def _precision(asked: str, installed: Installed, device: str) -> str:
    """What is asked for, where that device can; else its own."""
    have = installed.manifest.precisions
    if device != CPU:
        return asked or ON_DEVICE
    if asked in have:
        return asked
    return next((p for p in onnx.PRECISIONS if p in have), asked)

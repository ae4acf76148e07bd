"""A video world model on torch: bfloat16 on a GPU, its encoder's weights in int8 or fp8 if asked.

Owns: the networks on their device, dtypes, what a failure of the device is called.
Does not know: pictures, batching, sockets. Without graphs it runs on a CPU just as well, which is
how it is tested; no GPU was at hand for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepad.errors import DeviceLost, EngineError, NotFound, TooLarge
from jepad.jepa.attention import Turn
from jepad.jepa.target import normed
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.rollout import Moment
from jepad.learn.video.gate import Accuracy
from jepad.models.library import Installed, Manifest
from jepad.planning.energy import l1
from jepad.scene import proof
from jepad.scene.backend import Array, Encoded, Floats, Tables
from jepad.scene.capture import Cuda, Repeats
from jepad.scene.networks import ROUNDED, Networks, PairedTurn, Past, Weights, networks_of, turned
from jepad.scene.placement import Device, cpu
from jepad.vision.grid import positions, tables

#: Of messages that mean the device, and not what was asked of it.
_DEVICE_WORDS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "CUDA driver")
_TURNS = 16  # tables kept on the device


class TorchBackend:
    """As backend.Backend says."""

    xp: Any = torch

    def __init__(self, manifest: Manifest, networks: Networks, repeats: Repeats) -> None:
        self.manifest = manifest
        self.precision = networks.precision
        self._networks, self._repeats = networks, repeats
        self._device = networks.device
        self._turns: OrderedDict[int, tuple[Tables, Turn]] = OrderedDict()
        self._lost = ""
        #: Of rounded weights, what the gate measured at loading.
        self.accuracy: Accuracy | None = None

    @property
    def device(self) -> str:
        """ "cpu", "cuda:0", ..."""
        return str(self._device)

    @property
    def gate(self) -> Mapping[str, Any]:
        """Of rounded weights alone: bf16 is not measured."""
        return {} if self.accuracy is None else self.accuracy.figures()

    @property
    def resident_bytes(self) -> int:
        """Of weights on the device."""
        return self._networks.resident_bytes

    def free_bytes(self) -> int:
        """Of the device, with what torch holds there unused."""
        if self._device.type != "cuda":
            return cpu().free_bytes
        with self._named():
            unused = torch.cuda.memory_reserved(self._device)
            unused -= torch.cuda.memory_allocated(self._device)
            return int(torch.cuda.mem_get_info(self._device)[0]) + unused

    def encode(self, patches: Floats, tables: Tables, levels: bool = False) -> Encoded:
        """As the protocol says."""
        shape = self._networks.encoder.shape
        layers = [*shape.levels] if levels else [shape.depth - 1]
        image = shape.image and patches.shape[2] == shape.image_inputs

        def work(x: Tensor, cos: Tensor, sin: Tensor) -> list[Tensor]:
            read = self._networks.encoder.read(x, PairedTurn(cos, sin, True), layers, image)
            return [read[-1].float(), *[torch.cat(read, 2).float()] * levels]

        with self._named():
            turn = self._turn(tables)
            inputs = [self._inward(patches), turn.cos, turn.sin]
            tokens, *rest = self._repeats(f"encode {levels}", work, inputs)
            return Encoded(self.get(tokens), self.get(rest[0]) if rest else None)

    def predict(self, context: Floats, tables: Tables, mask_index: int) -> Floats:
        """As the protocol says."""
        predictor = self._networks.predictor
        if predictor is None:
            raise EngineError(f"model {self.manifest.name} has no predictor")

        def work(x: Tensor, cos: Tensor, sin: Tensor) -> list[Tensor]:
            return [predictor(x, PairedTurn(cos, sin, True), mask_index).targets.float()]

        with self._named():
            turn = self._turn(tables)
            inputs = [self._inward(context), turn.cos, turn.sin]
            return cast(Floats, self.get(self._repeats(f"predict {mask_index}", work, inputs)[0]))

    def classify(self, tokens: Floats) -> Floats:
        """As the protocol says."""
        probe = self._networks.probe
        if probe is None:
            raise EngineError(f"model {self.manifest.name} has no probe")
        with self._named():
            logits = self._repeats("classify", lambda x: [probe(x).float()], [self._inward(tokens)])
            return cast(Floats, self.get(logits[0]))

    def act(self, now: Moment, action: Array, keep: bool) -> tuple[Array, Past | None]:
        """As the protocol says. Not by replay: a planner's batch is large, and copies of its past
        would cost more than launches."""
        with self._named():
            return self._networks.step(now, action, keep)

    def put(self, array: NDArray[Any]) -> Array:
        """float32, on the device."""
        with self._named():
            exact = np.ascontiguousarray(array, np.float32)
            return torch.from_numpy(exact).to(self._device, copy=True)

    def get(self, array: Array) -> NDArray[Any]:
        """On the host."""
        with self._named():
            out: NDArray[Any] = array.detach().cpu().numpy()
            return out

    def close(self) -> None:
        """Let go of weights, recordings and the device's memory."""
        self._repeats.clear()
        self._turns.clear()
        self._networks.release()
        if self._device.type == "cuda" and not self._lost:
            try:
                torch.cuda.empty_cache()
            except RuntimeError:
                self._lost = "the device was lost on the way out"

    @property
    def _dtype(self) -> torch.dtype:
        return self._networks.dtype

    def _inward(self, array: Floats) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array, np.float32))
        return tensor.to(self._device).to(self._dtype)

    def _turn(self, tables: Tables) -> Turn:
        """[R, 1, K, head] on the device: the same for every head. Kept while the tables are."""
        kept = self._turns.get(id(tables))
        if kept is None:
            turn = turned(tables, self._device, self._dtype)
            kept = self._turns[id(tables)] = (tables, turn)
            while len(self._turns) > _TURNS:
                self._turns.popitem(last=False)
        return kept[1]

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of torch as this service calls them; no gradients, and on the right device."""
        if self._lost:
            raise DeviceLost(self._lost)
        there = torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()
        try:
            with torch.no_grad(), there:
                yield
        except torch.OutOfMemoryError as error:
            self._repeats.clear()
            raise TooLarge(
                f"{self.device} has not enough memory for this: {error}; ask for fewer frames or "
                "samples, or take a smaller model or int8 weights"
            ) from error
        except RuntimeError as error:
            if not _of_device(error):
                raise EngineError(f"the model failed: {error}") from error
            self._lost = f"{self.device} was lost: {str(error).splitlines()[0]}"
            raise DeviceLost(self._lost) from error


def devices() -> list[Device]:
    """GPUs that torch can use here, and their memory; [] where there are none."""
    found = []
    for i in range(torch.cuda.device_count()):
        try:
            free, total = torch.cuda.mem_get_info(i)
        except RuntimeError:
            continue  # there, but not to be used
        found.append(Device(f"cuda:{i}", free, total))
    return found


def load(installed: Installed, device: str, precision: str = "", threads: int = 0) -> TorchBackend:
    """A model on a device ("cuda:0"), its files hashed first. `precision`: bf16 (also ""), int8,
    fp8, fp32; `threads` (0: torch's own choice) are those of the host.

    SettingError: no such precision. ModelError: damaged files, or rounded weights that don't pass
    the gate. NotFound: imported without its weights, or no such device. TooLarge, DeviceLost.
    """
    if threads:
        torch.set_num_threads(threads)
    kind = precision or "bf16"
    place = _place(device)
    try:
        weights = Weights(installed)
        networks = networks_of(weights, place, kind)
    except torch.OutOfMemoryError as error:
        raise TooLarge(
            f"{device} has not enough memory for model {installed.manifest.name} in {kind}: "
            f"{error}; take a smaller model or int8 weights"
        ) from error
    except RuntimeError as error:
        if _of_device(error):
            raise DeviceLost(f"{device} was lost: {str(error).splitlines()[0]}") from error
        raise EngineError(f"{installed.directory}: can't be loaded: {error}") from error
    repeats = Repeats(Cuda() if place.type == "cuda" else None)
    backend = TorchBackend(installed.manifest, networks, repeats)
    if kind in ROUNDED:
        backend.accuracy = _proved(backend, networks, weights.encoder())
        proof.passed(installed.manifest.name, kind, backend.accuracy)
    return backend


def _place(device: str) -> torch.device:
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:  # the second: a torch without CUDA
        said = str(error).splitlines()[0]
        raise NotFound(f"device {device!r} can't be used here: {said}") from error
    return place


def _proved(backend: TorchBackend, networks: Networks, exact: VideoEncoder) -> Accuracy:
    """The gate's figures: exact on the host, rounded on the device."""
    shape, grid = exact.shape, proof.grid(exact.shape)
    cos, sin = tables(shape.rope, positions(grid, rescale=shape.rescale), halves=True)
    tabled = Tables(cos[None], sin[None])
    turn = turned(tabled, torch.device("cpu"), torch.float32)

    def plain(patches: Floats) -> Floats:
        with torch.no_grad():
            return cast(Floats, exact(torch.from_numpy(patches), turn).numpy())

    def rounded(patches: Floats) -> Floats:
        return backend.encode(patches, tabled).tokens

    action = networks.action.shape if networks.action is not None else None
    if action is None or action.extrinsics:
        return proof.measured(shape, None, proof.Sides(plain, rounded))

    def energies(start: Floats, goal: Floats, actions: Floats) -> Floats:
        state = backend.put(np.zeros((len(actions), action.states), np.float32))
        now = Moment(normed(backend.put(start)), state)
        with torch.no_grad():
            ahead, _ = networks.step(now, backend.put(actions), False, grid)
            return cast(Floats, backend.get(l1(ahead, normed(backend.put(goal)))))

    return proof.measured(shape, action, proof.Sides(plain, rounded, energies))


def _of_device(error: RuntimeError) -> bool:
    return isinstance(error, torch.AcceleratorError) or any(
        word in str(error) for word in _DEVICE_WORDS
    )

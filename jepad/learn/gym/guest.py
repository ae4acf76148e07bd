"""One guest under qemu, in virtual time: an instruction is a fixed time, and waiting is free.

Owns: the qemu process, its monitor, snapshots, and the two ports to the agent, all with deadlines.
Does not know: what runs in the guest, or what its frames hold.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from jepad.errors import SettingError
from jepad.learn.gym import frames, image
from jepad.learn.gym.frames import Frame

#: Nanoseconds of an instruction are 2^shift: 5 is a guest of 31 million instructions a second.
SHIFT = 5
#: Of the guest: the disk's own memory and what a unit may use.
_MEMORY_MIB = 1450
SWAP_MIB = 256
#: The build machine may be busy with much else; a guest silent for so long is stuck.
_SILENT_S = 300.0
_BOOT_S = 1800.0
_POLL_S = 0.02
#: A frame is a little late now and then.
_EARLY_S = 0.05
_READY = b"READY\n"
#: It ends with whoever started it, however that ended, and yields to the machine's own work.
_RUNNER = ("setpriv", "--pdeathsig", "KILL", "nice", "-n", "5")
#: String instructions are slow to emulate: the kernel then takes plain loops (112: rep_good).
_CPU = "max,erms=off,fsrm=off,smap=off,smep=off,pku=off"
_APPEND = (
    "console=ttyS0 quiet mitigations=off nokaslr psi=1 audit=0 tsc=reliable clocksource=tsc "
    f"no_timer_check panic=-1 clearcpuid=112 gym.disk={image.DISK_MIB} gym.swap={SWAP_MIB}"
)


class Guest:
    """A guest that stands still until run() and is killed when the block ends."""

    def __init__(self, picture: image.Image, disk: str | None, name: str = "") -> None:
        """Start qemu with a copy of `disk`, at its snapshot `name`; without one it boots."""
        shm = "/dev/shm"
        self._work = tempfile.mkdtemp(
            prefix="jepad-guest-", dir=shm if os.access(shm, os.W_OK) else None
        )
        self.disk = f"{self._work}/disk.qcow2"
        self._seen = 0  # bytes of the output that were handed out
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._make_disk(picture, disk)
            with open(f"{self._work}/qemu.log", "wb") as log:
                self._process = subprocess.Popen(
                    self._command(picture, name),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
            self._monitor = self._connect("monitor")
            self._answers = self._monitor.makefile("rb")
            self._heard()
            self._ask("qmp_capabilities")
            self._input = self._connect("in")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The guest itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Kill it whatever happened."""
        self.close()

    def _make_disk(self, picture: image.Image, disk: str | None) -> None:
        backing = ["-b", picture.disk, "-F", "raw", self.disk]
        command = ["qemu-img", "create", "-q", "-f", "qcow2", *backing]
        try:
            if disk is not None:
                shutil.copyfile(disk, self.disk)
                # The copy remembers where the image was when the first guest booted.
                command = ["qemu-img", "rebase", "-u", "-f", "qcow2", *backing]
            subprocess.run(command, check=True, timeout=_SILENT_S, capture_output=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise SettingError(f"{self.disk}: {error}") from error

    def _command(self, picture: image.Image, name: str) -> list[str]:
        work = self._work
        options = (
            f"-accel tcg -icount shift={SHIFT},sleep=off -smp 1 -m {_MEMORY_MIB} -cpu {_CPU} "
            "-nodefaults -no-user-config -display none -no-reboot -S "
            f"-drive file={self.disk},if=virtio,format=qcow2,cache=unsafe "
            f"-serial file:{work}/console.log -qmp unix:{work}/monitor,server=on,wait=off "
            f"-chardev socket,id=in,path={work}/in,server=on,wait=off "
            # Without ioeventfd a write ends within the instruction: the same in each twin.
            f"-chardev file,id=out,path={work}/out -device virtio-serial-pci,ioeventfd=off "
            "-device virtserialport,nr=1,chardev=in,name=in "
            "-device virtserialport,nr=2,chardev=out,name=out"
        ).split()
        boot = ["-kernel", picture.kernel, "-initrd", picture.initramfs, "-append", _APPEND]
        return [*_RUNNER, "qemu-system-x86_64", *options, *boot] + (
            ["-loadvm", name] if name else []
        )

    def _connect(self, name: str) -> socket.socket:
        end = time.monotonic() + _SILENT_S
        while True:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                peer.connect(f"{self._work}/{name}")
            except OSError:
                peer.close()
                self._alive()
                if time.monotonic() > end:
                    raise SettingError(f"qemu gives no {name} port: {self._said()}") from None
                time.sleep(_POLL_S)
            else:
                peer.settimeout(_SILENT_S)
                return peer

    def _alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise SettingError(f"qemu ended: {self._said()}")

    def _said(self) -> str:
        said = ""
        for name in ("qemu.log", "console.log"):
            if os.path.exists(f"{self._work}/{name}"):
                with open(f"{self._work}/{name}", errors="replace") as f:
                    said += f.read()[-500:]
        return said.strip() or "no word of why"

    def _ask(self, command: str, **arguments: str) -> Any:
        """One command of the monitor; events between are passed over."""
        request = {"execute": command, "arguments": arguments}
        self._send(self._monitor, json.dumps(request) + "\n")
        while True:
            answer = json.loads(self._heard())
            if "error" in answer:
                raise SettingError(f"qemu: {command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]

    def _send(self, to: socket.socket, text: str) -> None:
        try:
            to.sendall(text.encode())
        except OSError as error:
            raise SettingError(f"qemu hears nothing ({error}): {self._said()}") from error

    def _heard(self) -> bytes:
        try:
            line = self._answers.readline()
        except OSError as error:
            raise SettingError(f"qemu says nothing ({error}): {self._said()}") from error
        if not line:
            raise SettingError(f"qemu ended: {self._said()}")
        return line

    def _human(self, line: str) -> None:
        said = self._ask("human-monitor-command", **{"command-line": line})
        if said.strip():
            raise SettingError(f"qemu: {line}: {said.strip()}")

    def save(self, name: str) -> None:
        """Keep the whole guest under a name, replacing what had it."""
        self._human(f"savevm {name}")

    def load(self, name: str) -> None:
        """Be again what was kept; frames of the time between are not handed out any more."""
        self._human(f"loadvm {name}")
        self._seen = os.path.getsize(f"{self._work}/out")

    def tell(self, *lines: str) -> None:
        """Commands to the agent, which reads them at its next tick."""
        self._send(self._input, "".join(f"{line}\n" for line in lines))

    def run(self, seconds: float) -> list[Frame]:
        """Let so much guest time pass; the frames of it, and the few until it stood still."""
        got: list[Frame] = []
        self._ask("cont")
        for fresh in self._arriving():
            got += fresh
            if got[-1].t_ns - got[0].t_ns >= (seconds - _EARLY_S) * 1e9:
                break
        self._ask("stop")
        return got + self._new()

    def boot(self) -> None:
        """Let it start until the agent says it is ready."""
        self._ask("cont")
        end = time.monotonic() + _BOOT_S
        while self._output()[: len(_READY)] != _READY:
            self._alive()
            if time.monotonic() > end:
                raise SettingError(f"the guest did not start: {self._said()}")
            time.sleep(_POLL_S)
        self._ask("stop")
        self._seen = len(_READY)

    def _arriving(self) -> Iterator[list[Frame]]:
        last = time.monotonic()
        while True:
            fresh = self._new()
            if fresh:
                last = time.monotonic()
                yield fresh
            self._alive()
            if time.monotonic() - last > _SILENT_S:
                raise SettingError(f"the guest fell silent: {self._said()}")
            time.sleep(_POLL_S)

    def _new(self) -> list[Frame]:
        got, taken = frames.split(self._output())
        self._seen += taken
        return got

    def _output(self) -> bytes:
        with open(f"{self._work}/out", "rb") as f:
            f.seek(self._seen)
            return f.read()

    def close(self) -> None:
        """Kill qemu and remove its files."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=60)
        shutil.rmtree(self._work, ignore_errors=True)


def ready(picture: image.Image) -> str:
    """A disk with a booted guest under the name "ready"; booted once, then kept."""
    kept = os.path.join(os.path.dirname(picture.disk), f"ready-{SHIFT}-{_MEMORY_MIB}.qcow2")
    if not os.path.exists(kept):
        with Guest(picture, None) as guest:
            guest.boot()
            guest.save("ready")
            shutil.copyfile(guest.disk, f"{kept}.new")
        os.replace(f"{kept}.new", kept)
    return kept

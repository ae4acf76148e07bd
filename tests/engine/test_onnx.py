"""The runtime under the model keeps to itself."""

import os
import subprocess
import sys

MODEL_RUNS = """
import numpy as np
from jepad.engine import onnx
from jepad.heads.prepare import prepare
from jepad.models import store
files = store.load(None)
backend = onnx.load(files.onnx_path, files.digest)
backend.infer(prepare(np.ones((1, 2, 128)), np.ones(1)).feeds)
sockets = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
           if os.path.exists(f"/proc/self/fd/{fd}")]
assert not [s for s in sockets if s.startswith("socket:")], sockets
"""


def test_it_writes_nothing_and_opens_no_socket(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    subprocess.run(
        [sys.executable, "-c", "import os" + MODEL_RUNS],
        env=env | {"HOME": str(tmp_path)},
        check=True,
        timeout=120,
    )
    assert list(tmp_path.rglob("*")) == []

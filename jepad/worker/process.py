"""What every worker process does at its birth.

Owns: threads of its libraries, its end with its parent's. Does not know what it works at.
"""

from __future__ import annotations

import os
import signal

#: Must be set before numpy is imported: each thread would keep memory of its own.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PR_SET_PDEATHSIG = 1


def single_threaded() -> None:
    """Unless the environment says otherwise."""
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")


def tie_to(parent: int) -> bool:
    """Die with the parent, stopped or hung as we may be; False if it is gone already."""
    import ctypes  # costs memory that a worker as a unit of its own need not spend

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    return os.getppid() == parent

"""Keeping what a process holds in memory out of files that others may read.

A core file is an image of the process, with every key in it. A process that unseals a secret, or makes one, writes
none from then on, whoever asks for it: its limit is 0, and the kernel is told that it is not to be dumped, so that
neither a core handler (which the limit does not bind) nor another process of the same user gets at its memory.
Python cannot wipe a secret: copies of it are in memory until they are overwritten, and may be swapped out. Who steals
a running machine has its keys; who steals a disk without swap has not.

What a node stores and an export holds is no secret of that kind, but nobody's to read either who has another account on
the machine.
"""

import ctypes
import os
import resource
from functools import cache
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_OTHERS: Final = 0o077


@cache
def close_memory() -> None:
    """From now on this process leaves no core file and shows its memory to root alone. Once is enough; a program that
    it starts, and that opens secrets of its own, does the same for itself."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux alone has it
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def close_files() -> None:
    """What this process writes from now on is for its user alone, whatever its umask allowed before."""
    os.umask(os.umask(_OTHERS) | _OTHERS)

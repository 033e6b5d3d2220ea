"""Memory of a process: what glibc gives back, and what it keeps when told to."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource
from reference_models.memory import give_back, keep_freed, resident_mb

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [libc.malloc(2**20) for _ in range(8)]
        for block in blocks:
            libc.memset(block, 1, 2**20)
        for block in blocks:
            libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
by_itself = faults()
keep_freed()
faults()
kept, held = faults(), resident_mb()
give_back()
print(by_itself, kept, held - resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's allocator")
def test_what_is_freed_is_kept_and_can_be_given_back() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    by_itself, kept, returned = map(float, told.split())
    assert kept < by_itself / 10 and returned > 6, told

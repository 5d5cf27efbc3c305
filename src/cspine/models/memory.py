"""Memory that was freed goes back to the system.

The allocator of glibc keeps freed blocks of up to 32 MB for later, in one arena per thread: 200 to 300 MB after a
network has run, and more with every size of scan.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


def release_freed_memory() -> None:
    """Give memory that is free within this process back to the system, where the allocator is glibc's.

    It takes about 5 ms after a large network has run. Other allocators are left alone.
    """
    trim = _find_trim()
    if trim is not None:
        trim(0)


@contextmanager
def freed_memory_released() -> Iterator[None]:
    """Call `release_freed_memory` at the end; as a decorator, after the function's own arrays are freed."""
    try:
        yield
    finally:
        release_freed_memory()


@cache
def _find_trim() -> Any:  # noqa: ANN401 - a foreign function has no type
    """Return `malloc_trim` of glibc; None where the C library has none."""
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # no handle of the running program, as on Windows
        return None

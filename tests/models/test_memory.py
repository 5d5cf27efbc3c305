"""Memory that was freed goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

from cspine.models import memory
from cspine.models.memory import freed_memory_released, release_freed_memory

SCRIPT = """
import sys
import numpy as np
from cspine.models.memory import release_freed_memory

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

blocks = [np.ones(64 * 1024) for _ in range(200)]  # 100 MB in blocks of 0.5 MB
kept = blocks[-1]
del blocks
before = resident_mb()
release_freed_memory()
print(before, resident_mb())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say how much is resident")
@pytest.mark.skipif(memory._find_trim() is None, reason="another allocator")
def test_freed_blocks_are_returned() -> None:
    environment = {"MALLOC_MMAP_THRESHOLD_": "4194304", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)

    before, after = map(float, done.stdout.split())

    assert before - after > 60


def test_other_allocators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_find_trim", lambda: None)

    release_freed_memory()


def test_memory_is_released_after_a_function_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(memory, "_find_trim", lambda: calls.append)

    @freed_memory_released()
    def fail() -> None:
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            fail()

    assert calls == [0, 0]

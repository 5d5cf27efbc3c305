"""The processors that this process may use: its affinity, the CPU quota of its container, its share among workers."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_DEFAULT_PERIOD_US: Final = 100_000
"""The kernel's period of a CPU quota where a file states none, in microseconds."""

THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which OpenMP, OpenBLAS, MKL and PyTorch are told their number of threads."""

_WORKER_COUNT: list[int] = []
"""In a worker process of `cspine.core.execution.parallel`: how many of them there are; empty elsewhere."""


def default_workers(root: Path = Path("/")) -> int:
    """Return the number of processors that this process may use: workers of a program, or threads of a worker.

    It is the smallest of the processors of its affinity and the CPU quotas of its control group and those above it,
    rounded down, and at least 1. A worker process gets its share, so that all workers together stay within the quota.

    Parameters
    ----------
    root : Path
        Where the system's ``proc`` and ``sys`` are mounted.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    available = affinity if quota is None else min(affinity, int(quota))
    return max(1, available // _WORKER_COUNT[-1] if _WORKER_COUNT else available)


def inference_threads(root: Path = Path("/")) -> int:
    """Return the number of threads for the operators of a network; 0 where nothing limits them to less than all.

    ``OMP_NUM_THREADS`` limits them further, as it limits those of PyTorch and of BLAS. With 0, ONNX Runtime uses one
    thread per physical core.

    Parameters
    ----------
    root : Path
        As of `default_workers`.
    """
    available, limit = default_workers(root), _limit_of(THREAD_VARIABLES[0])
    if limit is not None:
        return min(limit, available)
    return 0 if not _WORKER_COUNT and available >= (os.cpu_count() or 1) else available


def take_share(n_workers: int) -> None:
    """Let this process use its share of the processors only, with its BLAS and OpenMP threads; for worker processes.

    Parameters
    ----------
    n_workers : int
        Number of worker processes that share the processors.
    """
    _WORKER_COUNT[:] = [n_workers]
    limit_native_threads(default_workers())


def limit_native_threads(count: int) -> None:
    """Limit the threads of the BLAS and OpenMP libraries that are loaded later; a lower limit of the user stays."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(min(_limit_of(name) or count, count))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many processors' time the control groups of this process allow; None where they set no limit.

    Containers are limited by quotas (``docker run --cpus``, ``resources.limits.cpu`` of Kubernetes), which neither
    `os.cpu_count` nor `os.sched_getaffinity` know of. The smallest quota of the group and of those above it holds.

    Parameters
    ----------
    root : Path
        As of `default_workers`.

    References
    ----------
    Control Group v2, "CPU Interface Files", and CFS Bandwidth Control, in the documentation of the Linux kernel.
    """
    quotas = [quota for folder in _cgroup_folders(root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


@dataclass(frozen=True)
class _Mount:
    """A mounted control-group hierarchy: which of its folders is mounted, and where."""

    is_v2: bool
    top: PurePosixPath
    point: PurePosixPath


def _cgroup_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of the CPU control groups of this process, from the mounts down to its own group."""
    groups = _own_groups(root)
    for mount in [*_mounts(root), *_USUAL_MOUNTS]:
        folder = root / mount.point.relative_to("/")
        yield folder
        for part in _path_below(groups.get(mount.is_v2), mount.top).parts:
            folder /= part
            yield folder


_USUAL_MOUNTS: Final = (
    _Mount(is_v2=True, top=PurePosixPath("/"), point=PurePosixPath("/sys/fs/cgroup")),
    _Mount(is_v2=False, top=PurePosixPath("/"), point=PurePosixPath("/sys/fs/cgroup/cpu")),
)
"""Where hierarchies are usually mounted, for sandboxes that hide the table of mounts."""


def _path_below(group: PurePosixPath | None, top: PurePosixPath) -> PurePosixPath:
    """Return a group's path below the folder that is mounted; empty where it lies elsewhere or is not known."""
    if group is None or ".." in group.parts or not group.is_relative_to(top):
        return PurePosixPath()
    return group.relative_to(top)


def _own_groups(root: Path) -> dict[bool, PurePosixPath]:
    """Return the path of this process's CPU group in the hierarchy of version 2 (True) and of version 1 (False)."""
    groups: dict[bool, PurePosixPath] = {}
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not path.startswith("/"):
            continue
        if number == "0" and not controllers:
            groups[True] = PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            groups[False] = PurePosixPath(path)
    return groups


def _mounts(root: Path) -> Iterator[_Mount]:
    """Yield the mounted hierarchies of version 2, and those of version 1 that control the CPU."""
    for line in _lines(root / "proc/self/mountinfo"):
        place, _, source = line.partition(" - ")
        fields, kinds = place.split(" "), source.split(" ")
        if len(fields) < 5 or not (fields[3].startswith("/") and fields[4].startswith("/")):
            continue
        is_v2 = kinds[0] == "cgroup2"
        if is_v2 or (kinds[0] == "cgroup" and "cpu" in kinds[-1].split(",")):
            yield _Mount(is_v2, PurePosixPath(_unescape(fields[3])), PurePosixPath(_unescape(fields[4])))


def _quota_of(folder: Path) -> float | None:
    """Return the quota that a control group itself sets, in processors; None for none."""
    words = " ".join(_lines(folder / "cpu.max")).split()
    if not words:
        words = [*_lines(folder / "cpu.cfs_quota_us")[:1], *_lines(folder / "cpu.cfs_period_us")[:1]]
    try:
        quota_us, period_us = float(words[0]), float(words[1]) if len(words) > 1 else _DEFAULT_PERIOD_US
    except (IndexError, ValueError):  # no such file, or "max"
        return None
    return quota_us / period_us if quota_us > 0.0 and period_us > 0.0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _unescape(text: str) -> str:
    r"""Return a path of the table of mounts, in which blanks are octal.

    >>> _unescape(r"/my\040groups")
    '/my groups'
    """
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text


def _limit_of(variable: str) -> int | None:
    """Return the number of threads that an environment variable allows; the first of OpenMP's list, None for none."""
    first = os.environ.get(variable, "").partition(",")[0].strip()
    return int(first) if first.isascii() and first.isdecimal() and int(first) > 0 else None

"""The processors that a process may use: quotas of control groups, shares of workers, threads of libraries."""

import os
from pathlib import Path

import pytest

from cspine.core import processors
from cspine.core.processors import cpu_quota, default_workers, inference_threads, limit_native_threads, take_share

V2 = "31 23 0:28 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
V1 = "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"


@pytest.fixture(autouse=True)
def many_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 processors whose libraries are not limited."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(processors, "_WORKER_COUNT", [])
    for name in processors.THREAD_VARIABLES:
        monkeypatch.setenv(name, "")


def write_system(root: Path, group: str, mount: str, files: dict[str, str]) -> Path:
    """Write what a process sees of its control groups below a root."""
    for name, text in {"proc/self/cgroup": group, "proc/self/mountinfo": mount, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("group", "mount", "files", "quota"),
    [
        ("0::/", V2.format(top="/"), {"sys/fs/cgroup/cpu.max": "200000 100000"}, 2.0),
        ("0::/", V2.format(top="/"), {"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ("0::/a/b", V2.format(top="/"), {"sys/fs/cgroup/a/b/cpu.max": "150000 100000"}, 1.5),
        (
            "0::/a/b",
            V2.format(top="/"),
            {"sys/fs/cgroup/a/cpu.max": "300000 100000", "sys/fs/cgroup/a/b/cpu.max": "800000 100000"},
            3.0,
        ),
        ("0::/a/b", V2.format(top="/"), {"sys/fs/cgroup/a/cpu.max": "400000"}, 4.0),
        ("0::/docker/1", V2.format(top="/docker/1"), {"sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        ("0::/../../x", V2.format(top="/"), {"sys/fs/cgroup/cpu.max": "600000 100000"}, 6.0),
        (
            "4:cpu,cpuacct:/pod\n3:cpuset:/\n0::/",
            V1.format(top="/"),
            {
                "sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us": "50000",
            },
            5.0,
        ),
        (
            "4:cpu,cpuacct:/pod",
            V1.format(top="/"),
            {
                "sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ("", "", {"sys/fs/cgroup/cpu.max": "700000 100000"}, 7.0),
        ("odd", "odd - odd", {"sys/fs/cgroup/cpu.max": "seven 0"}, None),
    ],
    ids=["v2", "max", "nested", "parent", "no-period", "container", "namespace", "v1", "v1-none", "hidden", "odd"],
)
def test_the_quota_is_that_of_the_group_and_of_those_above(
    tmp_path: Path, group: str, mount: str, files: dict[str, str], quota: float | None
) -> None:
    root = write_system(tmp_path, group, mount, files)

    assert cpu_quota(root) == quota
    assert default_workers(root) == (64 if quota is None else max(1, int(quota)))


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS and Windows
    monkeypatch.setattr(os, "cpu_count", lambda: None)

    assert cpu_quota(tmp_path) is None
    assert default_workers(tmp_path) == 1


def test_workers_times_threads_stay_within_the_quota(tmp_path: Path) -> None:
    root = write_system(tmp_path, "0::/", V2.format(top="/"), {"sys/fs/cgroup/cpu.max": "600000 100000"})
    assert (default_workers(root), inference_threads(root)) == (6, 6)

    take_share(3)

    assert (default_workers(root), inference_threads(root)) == (2, 2)


def test_onnx_runtime_chooses_its_threads_only_where_nothing_limits_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inference_threads(tmp_path) == 0

    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert inference_threads(tmp_path) == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7})
    assert inference_threads(tmp_path) == 3


def test_threads_of_libraries_are_lowered_and_never_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "64")

    limit_native_threads(8)

    assert [os.environ[name] for name in processors.THREAD_VARIABLES] == ["1", "8", "8"]

"""Run a command as containers do: without a network, as an unknown user, on a read-only root, with /tmp alone writable.

No container engine is needed: Linux lets any user make such a room of namespaces, where the system's settings allow it.
The test starts ``unshare --map-root-user --mount --net python confined.py INPUT OUTPUT COMMAND ...``; this program then
mounts INPUT at /mnt/in and OUTPUT at /mnt/out, makes everything else read-only, and becomes a user without a name.
"""

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

UNKNOWN_UID = 54321
INPUT, OUTPUT = Path("/mnt/in"), Path("/mnt/out")
TEMPORARY = Path("/tmp")
PROJECT = Path(__file__).parents[2]

_MOUNT_SETATTR = 442  # the number of the system call, the same on all architectures
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_READ_ONLY = 1


def missing_reason() -> str | None:
    """Return why this machine cannot confine a command; None where it can."""
    if not sys.platform.startswith("linux"):
        return "namespaces are Linux'"
    if shutil.which("unshare") is None or not Path("/mnt").is_dir():
        return "unshare (util-linux) or /mnt is missing"
    if _needed_in(INPUT.parent):
        return "Python or the project lies in /mnt, where the folders are mounted"
    done = subprocess.run(
        [*_UNSHARE, sys.executable, __file__, "/tmp", "/tmp", "true"], capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else f"the kernel forbids such namespaces: {done.stderr.strip()[-200:]}"


def run_confined(
    command: list[str], *, input_folder: Path, output_folder: Path, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a command that finds the folders at `INPUT` and `OUTPUT`, with these variables and no others."""
    return subprocess.run(
        [*_UNSHARE, sys.executable, __file__, str(input_folder), str(output_folder), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **environment},
    )


_UNSHARE = ["unshare", "--map-root-user", "--mount", "--net"]


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _set_read_only(path: Path, *, read_only: bool) -> None:
    """Set whether a mount can be written; with all mounts below it where it becomes read-only."""
    attributes = struct.pack("=4Q", _READ_ONLY if read_only else 0, 0 if read_only else _READ_ONLY, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _AT_RECURSIVE if read_only else 0
    if libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), flags, attributes, len(attributes)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(path))


def _needed_in(folder: Path) -> list[Path]:
    """Return the outermost folders of Python and of the project that lie in a folder."""
    needed = {Path(sys.prefix), Path(sys.base_prefix), PROJECT}
    return [path for path in needed if path.is_relative_to(folder) and needed.isdisjoint(path.parents)]


def main() -> None:
    """Mount, forget the user, and become the command."""
    input_folder, output_folder, *command = sys.argv[1:]
    _mount("-t", "tmpfs", "tmpfs", "/mnt")
    for source, target in ((input_folder, INPUT), (output_folder, OUTPUT)):
        target.mkdir()
        _mount("--bind", source, target)
    needed = {INPUT.with_name(f"needed-{number}"): path for number, path in enumerate(_needed_in(TEMPORARY))}
    for copy, path in needed.items():
        copy.mkdir()
        _mount("--bind", path, copy)
    _set_read_only(Path("/"), read_only=True)
    _set_read_only(OUTPUT, read_only=False)
    _set_read_only(Path("/proc"), read_only=False)  # where the user of the next namespace is set
    _mount("-t", "tmpfs", "tmpfs", TEMPORARY)
    for copy, path in needed.items():  # a checkout in /tmp, read-only as all but /tmp is
        path.mkdir(parents=True)
        _mount("--bind", copy, path)
    os.chdir("/")
    user = ["--user", f"--map-user={UNKNOWN_UID}", f"--map-group={UNKNOWN_UID}"]
    os.execvp("unshare", ["unshare", *user, *command])


if __name__ == "__main__":
    main()

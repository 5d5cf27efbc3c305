"""A Slurm controller and node of their own, started on loopback for a test."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.orthanc import free_port

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
_MISSING = [program for program in _PROGRAMS if shutil.which(program, path=_PATH) is None]

needs_slurm = pytest.mark.skipif(
    bool(_MISSING) or os.name == "nt" or os.getuid() != 0,
    reason="a Slurm controller and node (Debian's slurm-wlm), which root starts",
)

_START_S, _END_S = 30.0, 10.0

_CONFIGURATION = """\
ClusterName=cspine-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
SlurmUser={user}
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
ReturnToService=2
KillWait=1
SlurmdParameters=config_overrides
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={processors} RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    """A running cluster of one node."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": _PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *command: str, variables: Mapping[str, str] = {}, cwd: Path | None = None) -> str:
        """Run a command of Slurm, and return what it prints."""
        done = subprocess.run(
            command,
            env={**self.environment, **variables},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    def states(self, job: str) -> dict[str, str]:
        """Return the state of every task of a job: its index, or '' of a job that is no array, to the state."""
        lines = self.run(
            "squeue", "--array", "--states=all", "--noheader", "--format=%K %T", f"--jobs={job}"
        ).splitlines()
        states = dict(line.split() for line in lines)
        return {"" if index == "N/A" else index: state for index, state in states.items()}

    def wait(self, job: str, *, timeout_s: float = 120.0) -> dict[str, str]:
        """Wait until every task of a job has ended, and return their states."""
        deadline = time.monotonic() + timeout_s
        while True:
            states = self.states(job)
            if states and not {*states.values()} & {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED"}:
                return states
            assert time.monotonic() < deadline, f"{states}\n{self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(path.read_text("utf-8", "replace")[-2000:] for path in sorted(self.folder.glob("slurm*.log")))


@contextmanager
def running_slurm() -> Iterator[Slurm]:
    """Run munge, a controller and a node in a folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="cspine-slurm-"))
    folder.chmod(0o711)  # munge refuses a socket that others cannot reach
    for name in ("state", "spool"):
        (folder / name).mkdir(mode=0o755)
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o600)
    text = _CONFIGURATION.format(
        host=socket.gethostname().partition(".")[0],
        controller_port=free_port(),
        node_port=free_port(),
        folder=folder,
        user=getpass.getuser(),
        processors=os.cpu_count() or 1,
    )
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    slurm = Slurm(folder)
    files = [f"--{option}={folder}/{name}" for option, name in _MUNGE_FILES.items()]
    commands = [
        ["munged", "--foreground", "--force", *files],
        ["slurmctld", "-D", "-f", str(folder / "slurm.conf")],
        ["slurmd", "-D", "-f", str(folder / "slurm.conf")],
    ]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "output.log").open("wb") as output:
            for command in commands:
                daemons.append(subprocess.Popen(command, env=slurm.environment, stdout=output, stderr=output))
                if command[0] == "munged":
                    _wait_until((folder / "munge.sock").exists, slurm)
        _wait_until(lambda: _is_idle(slurm), slurm)
        yield slurm
    finally:
        if len(daemons) == len(commands):  # what still runs would outlive the node
            subprocess.run(["scancel", f"--user={getpass.getuser()}"], env=slurm.environment, timeout=30, check=False)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(_END_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


_MUNGE_FILES = {
    "socket": "munge.sock",
    "key-file": "key",
    "pid-file": "munged.pid",
    "seed-file": "munged.seed",
    "log-file": "munged.log",
}


def _is_idle(slurm: Slurm) -> bool:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"],
        env=slurm.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout.strip() == "idle"


def _wait_until(condition: Callable[[], bool], slurm: Slurm) -> None:
    deadline = time.monotonic() + _START_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"Slurm does not start: {(slurm.folder / 'output.log').read_text()[-2000:]}\n{slurm.logs()}")
        time.sleep(0.1)

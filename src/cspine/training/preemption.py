"""Preemption: a scheduler that takes a machine away announces it by a signal, and training writes a checkpoint.

Slurm sends the signal that ``sbatch --signal`` names some time before a job's limit or its preemption; clouds and
container engines send SIGTERM. Training stops after the next step of the optimizer, and between its stages.
"""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from cspine.core.errors import InputError, PreemptedError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SIGNALS: Final = ("SIGTERM", "SIGUSR1")
"""Signals that announce a preemption; Windows lacks the second one."""

_REQUEUE_TIMEOUT_S: Final = 60


class StopRequest:
    """Whether a signal asked this run to stop, in any of its processes."""

    def __init__(self) -> None:
        self._is_set = False

    def request(self, *_: object) -> None:
        """Ask the run to stop; the handler of the signals."""
        self._is_set = True

    def is_made(self, fabric: "Fabric") -> bool:
        """Return whether any process was asked to stop; every process has to call this at the same step."""
        if fabric.world_size == 1:
            return self._is_set
        import torch  # noqa: PLC0415 - processes that draw samples load this module, and have no use for it

        flag: Any = fabric.all_reduce(torch.tensor(float(self._is_set), device=fabric.device), reduce_op="sum")
        return bool(flag > 0)

    def check(self, work: str) -> None:
        """Raise PreemptedError where this process was asked to stop; `work` is what the same command continues."""
        if self._is_set:
            raise PreemptedError(f"{work}: {STOPPED_BETWEEN}")


STOPPED_BETWEEN: Final = "stopped by a signal, all finished work is kept; run the same command again to continue"

_CURRENT: ContextVar[StopRequest | None] = ContextVar("stop_request", default=None)


@contextmanager
def signals_caught() -> Iterator[StopRequest]:
    """Turn the signals into a request to stop, for as long as the context lasts; in threads they are left alone.

    A context within another one has the request of the outer one, so that what arrives between two stages of a training
    stops the next one.
    """
    outer = _CURRENT.get()
    if outer is not None:
        yield outer
        return
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    earlier = {number: signal.signal(number, request.request) for number in numbers}
    token = _CURRENT.set(request)
    try:
        yield request
    finally:
        _CURRENT.reset(token)
        for number, handler in earlier.items():
            signal.signal(number, handler)


def requeue_job(environment: Mapping[str, str] | None = None) -> str:
    """Put the Slurm job that this process belongs to back into the queue, and return its ID.

    Parameters
    ----------
    environment : mapping of str to str, optional
        Environment variables; those of this process where omitted.

    Raises
    ------
    InputError
        This is no job of Slurm, or Slurm refused.
    """
    job = (os.environ if environment is None else environment).get("SLURM_JOB_ID", "")
    program = shutil.which("scontrol")
    if not job or program is None:
        raise InputError("--requeue: this is no job of Slurm (SLURM_JOB_ID, scontrol); run the same command again")
    done = subprocess.run(  # noqa: S603 - the job's own ID
        [program, "requeue", job], capture_output=True, text=True, timeout=_REQUEUE_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise InputError(f"--requeue: scontrol refused ({done.stderr.strip()[:200]}); submit the same job again")
    return job

"""Slurm: a command's shards as a job array, and their merge as a job that follows it, by submitit."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from cspine.core.errors import CspineError, InputError
from cspine.core.execution.shards import MAX_SHARDS, Shard
from cspine.core.extras import require_extra
from cspine.core.settings import Settings

SHARDED: Final = ("compile", "evaluate", "insert", "localize", "predict", "synth")
"""Commands that can be divided."""

_FORBIDDEN: Final = ("--shard", "--workers", "--dask")


class ClusterError(CspineError):
    """Slurm refuses a job, or is not there."""


class SlurmSettings(Settings):
    """What each task of the array is given."""

    shards: int = Field(16, ge=1, le=MAX_SHARDS, description="Number of shards, each a task of the array.")
    parallelism: int = Field(256, ge=1, description="Most tasks that run at the same time.")
    processors: int = Field(2, ge=1, description="Processors, and processes, of a task.")
    memory_gb: float = Field(4.0, gt=0.0, description="Memory of a task in GB; a process takes less than 1.")
    time_min: int = Field(480, ge=1, description="Time limit of a task in minutes; what is done by then is kept.")
    partition: str | None = Field(None, description="Partition of the cluster; its default where null.")
    account: str | None = Field(None, description="Account that is charged; the user's default where null.")


@dataclass(frozen=True)
class SubmittedJobs:
    """Jobs that Slurm has taken.

    Attributes
    ----------
    array_id, merge_id : str
        Numbers of the array and of the merge.
    logs : Path
        Folder of their logs.
    """

    array_id: str
    merge_id: str
    logs: Path


@dataclass(frozen=True)
class ShardedCommand:
    """A command of cspine, called with a shard or to merge; submitit runs it in a job.

    Attributes
    ----------
    arguments : tuple of str
        Arguments of the command line.
    """

    arguments: tuple[str, ...]

    def __call__(self, *further: str) -> int:
        """Run the command with further arguments, and return its exit code: 0.

        Raises
        ------
        ClusterError
            It did not come to its end, or the merge names studies that failed.
        """
        command = [sys.executable, "-m", "cspine", *self.arguments, *further]
        code = subprocess.run(command, check=False).returncode  # noqa: S603 - our own program
        if code != 0:
            raise ClusterError(f"cspine {self.arguments[0]} ended with exit code {code}; see the log above")
        return code

    def checkpoint(self, *further: str) -> Any:  # noqa: ANN401 - submitit has no types
        """Return what submitit submits again where the job is preempted or reaches its time limit: the same call."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415 - an extra

        return DelayedSubmission(self, *further)


def submit_shards(
    arguments: Sequence[str],
    out: str | Path,
    settings: SlurmSettings = SlurmSettings(),  # noqa: B008 - immutable
    *,
    logs: str | Path = "slurm-logs",
) -> SubmittedJobs:
    """Submit a command as an array of shards, and the merge that follows when all of them have ended.

    A task that is preempted or reaches its time limit is submitted again by itself and resumes.

    Parameters
    ----------
    arguments : sequence of str
        Arguments of the command line, such as ``compile rsna --out compiled``.
    out : str or Path
        Folder of the job, which is merged.
    settings : SlurmSettings
        Number and resources of the tasks.
    logs : str or Path
        Folder of the logs, which all nodes reach.

    Returns
    -------
    SubmittedJobs

    Raises
    ------
    InputError
        The command cannot be divided, or says itself how it is executed.
    MissingExtraError
        The extra ``slurm`` is not installed.
    ClusterError
        Slurm refuses the jobs, or is not there.
    """
    if not arguments or arguments[0] not in SHARDED:
        raise InputError(f"{' '.join(arguments[:1])}: cannot be divided; give one of {', '.join(SHARDED)}")
    forbidden = [name for name in arguments if name.partition("=")[0] in _FORBIDDEN]
    if forbidden:
        raise InputError(f"{forbidden[0]}: is given by the array; leave it out")
    require_extra("slurm")
    import submitit  # noqa: PLC0415 - an extra

    workers = () if arguments[0] == "evaluate" else ("--workers", str(settings.processors))
    command = ShardedCommand((*arguments, *workers))
    shards = [Shard(index, settings.shards) for index in range(1, settings.shards + 1)]
    try:
        executor = submitit.SlurmExecutor(folder=Path(logs) / "%A", max_num_timeout=1000)
        executor.update_parameters(**_parameters(settings), array_parallelism=settings.parallelism, job_name="cspine")
        jobs = executor.map_array(command, ["--shard"] * len(shards), [str(shard) for shard in shards])
        array_id = str(jobs[0].job_id).partition("_")[0]
        merge = submitit.SlurmExecutor(folder=Path(logs) / "%A")
        merge.update_parameters(**_parameters(settings), job_name="cspine-merge", dependency=f"afterany:{array_id}")
        merged = merge.submit(ShardedCommand(("merge", str(out))))
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:  # submitit's; sbatch is not there
        raise ClusterError(f"Slurm takes no job ({error}); submit from a node where sbatch works") from error
    return SubmittedJobs(array_id, str(merged.job_id), Path(logs))


def _parameters(settings: SlurmSettings) -> dict[str, Any]:
    """Return resources as submitit takes them; each process has one thread, so that results do not depend on them."""
    optional = {"partition": settings.partition, "account": settings.account}
    return {
        "time": settings.time_min,
        "cpus_per_task": settings.processors,
        "ntasks_per_node": 1,
        "mem": f"{round(1000 * settings.memory_gb)}M",
        "setup": ["export OMP_NUM_THREADS=1"],
        **{name: value for name, value in optional.items() if value is not None},
    }

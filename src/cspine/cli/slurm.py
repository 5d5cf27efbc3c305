"""``cspine slurm``: a command as a job array of Slurm."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, say, say_research_only
from cspine.cli.options import Json
from cspine.core.errors import InputError

_EPILOG = "Example:  cspine slurm --shards 64 --out compiled -- compile rsna/"


@app.command("slurm", epilog=_EPILOG)
@handle_errors
def slurm_command(
    command: Annotated[list[str], typer.Argument(help="Command and its arguments but --out and --workers, after --.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the command's output, which all nodes reach.")],
    shards: Annotated[int, typer.Option("--shards", min=1, help="Number of shards: tasks of the array.")] = 16,
    parallelism: Annotated[int, typer.Option("--parallelism", min=1, help="Most tasks at the same time.")] = 256,
    processors: Annotated[int, typer.Option("--processors", min=1, help="Processors and processes of a task.")] = 2,
    memory_gb: Annotated[float, typer.Option("--memory-gb", min=0.5, help="Memory of a task in GB.")] = 4.0,
    time_min: Annotated[int, typer.Option("--time-min", min=1, help="Time limit of a task in minutes.")] = 480,
    partition: Annotated[str | None, typer.Option("--partition", help="Partition of the cluster.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Account that is charged.")] = None,
    logs: Annotated[Path, typer.Option("--logs", help="Folder of the logs.")] = Path("slurm-logs"),
    as_json: Json = False,
) -> None:
    """Submit a command to Slurm: its shards as a job array, and cspine merge when all of them have ended.

    A task that is preempted, or reaches its time limit, is submitted again by itself and resumes.
    """
    from cspine.pipelines.cluster.slurm import SlurmSettings, submit_shards

    if "--out" in command:
        raise InputError("--out: stands before the command, since the merge needs it; give it there")
    settings = SlurmSettings(
        shards=shards,
        parallelism=parallelism,
        processors=processors,
        memory_gb=memory_gb,
        time_min=time_min,
        partition=partition,
        account=account,
    )
    jobs = submit_shards([*command, "--out", str(out.resolve())], out.resolve(), settings, logs=logs.resolve())
    if as_json:
        print_json({"array_id": jobs.array_id, "merge_id": jobs.merge_id, "logs": str(jobs.logs)})
    else:
        say(f"submitted: array {jobs.array_id} of {shards} shards, then merge {jobs.merge_id}; logs: {jobs.logs}")
    say_research_only()

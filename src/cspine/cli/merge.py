"""``cspine merge``: the tables of a job from its shards."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import app, exit_code, handle_errors, print_json, say, say_error, say_research_only
from cspine.cli.options import Json
from cspine.core.extras import require_extra
from cspine.core.text import counted

_EPILOG = "Example:  cspine merge compiled"
_MAX_SHOWN = 10


@app.command("merge", epilog=_EPILOG)
@handle_errors
def merge_command(
    out: Annotated[Path, typer.Argument(help="The --out of a command that ran with --shard.")],
    partial: Annotated[bool, typer.Option("--partial", help="Merge what there is, where shards are missing.")] = False,
    as_json: Json = False,
) -> int:
    """Write the tables of a job whose shards have ended: those that the command writes without --shard.

    Exit code 1: a study failed, or shards are missing from a partial merge.
    """
    require_extra("evaluate")
    from cspine.pipelines.cluster.merge import merge_shards

    summary = merge_shards(out, partial=partial)
    if as_json:
        print_json(vars(summary))
    else:
        say(
            f"{counted(summary.studies, 'study', 'studies')} of {counted(summary.shards, 'shard', 'shards')} of cspine "
            f"{summary.command}: {', '.join(summary.tables) or 'complete'} in {out}"
        )
        if summary.missing:
            say_error(f"{len(summary.missing)} of {summary.shards} shards are missing")
        for uid, reason in summary.failed[:_MAX_SHOWN]:
            say_error(f"study {uid}: {reason.removeprefix(f'study {uid}: ')}")
        if len(summary.failed) > _MAX_SHOWN:
            say_error(f"and {len(summary.failed) - _MAX_SHOWN} more")
    say_research_only()
    return exit_code(complete=not summary.failed and not summary.missing)

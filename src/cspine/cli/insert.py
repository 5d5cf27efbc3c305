"""``cspine insert``: virtual fractures in real CT, with exact truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import (
    app,
    exit_code,
    handle_errors,
    print_json,
    progress_bar,
    say,
    say_error,
    say_research_only,
)
from cspine.cli.options import (
    WORKERS,
    DaskOption,
    Json,
    Localizer,
    ShardOption,
    Vertebrae,
    VertebraeLabels,
    Workers,
    execution,
    say_shard,
    settled,
)
from cspine.core.errors import InputError
from cspine.core.extras import require_extra
from cspine.core.text import counted

if TYPE_CHECKING:
    from cspine.core.execution.execution import Execution
    from cspine.insertion.settings import InsertionSettings
    from cspine.pipelines.insert import InsertionSummary

_EPILOG = 'Example:  cspine insert necks/ --out virtual --copies 5 --levels C2,C5:3 --types "dens type II,lamina"'


@app.command("insert", epilog=_EPILOG)
@handle_errors
def insert_command(
    path: Annotated[Path, typer.Argument(help="Intact CT: a study, or a folder of studies, DICOM or NIfTI.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the data set; an interrupted run is resumed.")],
    copies: Annotated[
        int, typer.Option("--copies", min=1, max=1000, help="Fractured studies, and shams, made from each scan.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same fractures.")] = 0,
    levels: Annotated[
        str | None, typer.Option("--levels", help="Levels to break, with frequencies: C2,C5:3; those of the challenge.")
    ] = None,
    types: Annotated[
        str | None, typer.Option("--types", help="Types of fracture, with frequencies; those of the phantom.")
    ] = None,
    min_visibility: Annotated[
        float,
        typer.Option(
            "--min-visibility",
            min=0.0,
            max=0.99,
            help="Least visibility; 0.5: none is occult, 0.75: all are clear.",
        ),
    ] = 0.0,
    intact: Annotated[
        bool,
        typer.Option("--intact/--no-intact", help="Whether each scan is also written as it is: intact."),
    ] = True,
    localizer: Localizer = None,
    vertebrae: Vertebrae = None,
    vertebrae_labels: VertebraeLabels = "auto",
    workers: Workers = WORKERS,
    shard: ShardOption = None,
    dask: DaskOption = None,
    as_json: Json = False,
) -> int:
    """Insert virtual fractures into intact CT, and shams in the same places, in the challenge's layout.

    Real bone is broken along the phantom's fracture surfaces: fragments move, gaps fill with blood, tissue follows.
    Shams are resampled without a break; they are negatives. Exit code 1: a scan could not be used.
    """
    require_extra("evaluate")
    from cspine.pipelines.insert import insert_fractures

    how = execution(workers, shard, dask)
    with progress_bar() as progress:
        summary = insert_fractures(
            path,
            out,
            _settings(levels, types, min_visibility),
            seed=seed,
            copies=copies,
            with_intact=intact,
            localizer=localizer,
            vertebrae=vertebrae,
            vertebrae_labels=vertebrae_labels,
            workers=how,
            progress=progress,
        )
    how = settled(how, out)
    if as_json:
        print_json(vars(summary))
    else:
        _show(summary, how, out)
    say_research_only()
    return exit_code(complete=how.shard is not None or not summary.failed)


def _show(summary: "InsertionSummary", how: "Execution", out: Path) -> None:
    say(
        f"{counted(summary.studies, 'study', 'studies')}, {summary.fractured} with virtual fractures, "
        f"{counted(summary.shams, 'sham', 'shams')}, {summary.intact} intact: {out}"
    )
    for name, reason in summary.failed:
        say_error(f"study {name}: {reason}")
    if not say_shard(how, out):
        say(f"Next:  cspine compile {out} --out {out}-compiled")


def _settings(levels: str | None, types: str | None, min_visibility: float) -> "InsertionSettings":
    from pydantic import ValidationError

    from cspine.insertion.settings import InsertionSettings

    mixes = {"level_mix": _mix("--levels", levels), "type_mix": _mix("--types", types)}
    try:
        chosen = {name: mix for name, mix in mixes.items() if mix}
        return InsertionSettings.model_validate({**chosen, "min_visibility": min_visibility})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--levels" if first["loc"][:1] == ("level_mix",) else "--types"
        raise InputError(f"{option}: {str(first['msg']).removeprefix('Value error, ')}") from error


def _mix(option: str, text: str | None) -> dict[str, float]:
    """Parse names with frequencies, separated by commas.

    >>> _mix("--levels", "C2, C5:3")
    {'C2': 1.0, 'C5': 3.0}
    """
    mix = {}
    for part in (text or "").split(","):
        name, _, frequency = part.strip().partition(":")
        if not name:
            continue
        try:
            mix[name] = float(frequency) if frequency else 1.0
        except ValueError:
            raise InputError(f"{option} {part.strip()}: is no frequency; write a name, or a name:number") from None
    return mix

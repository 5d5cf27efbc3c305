"""``cspine compile``: from studies to small sagittal images."""

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
    size,
)
from cspine.cli.options import (
    MAX_GAP,
    WORKERS,
    DaskOption,
    Json,
    Localizer,
    MaxGap,
    ShardOption,
    Vertebrae,
    VertebraeLabels,
    Workers,
    execution,
    say_shard,
    settled,
    three_counts,
)
from cspine.core.errors import InputError
from cspine.core.extras import require_extra

if TYPE_CHECKING:
    require_extra("evaluate")
    from cspine.core.execution.execution import Execution
    from cspine.pipelines.compile import CompileSummary
    from cspine.views.settings import CompileSettings

_EPILOG = "Examples:  cspine compile rsna/ --out compiled   |   cspine compile studies/ --out compiled --count 15"
_MAX_SHOWN = 10


@app.command("compile", epilog=_EPILOG)
@handle_errors
def compile_command(
    path: Annotated[Path, typer.Argument(help="The challenge's folder (train_images/), or any folder of studies.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the compiled data set; an interrupted run is resumed.")],
    count: Annotated[int, typer.Option("--count", min=1, max=99, help="Sagittal images per study.")] = 9,
    straight: Annotated[
        bool, typer.Option("--straight", help="Parallel sagittal planes without localization, as in the notebook.")
    ] = False,
    levels: Annotated[
        bool, typer.Option("--levels/--no-levels", help="Whether each vertebra gets views of its own.")
    ] = True,
    views: Annotated[
        str | None, typer.Option("--views", help="Sagittal, coronal and axial views of each vertebra; 5,5,5.")
    ] = None,
    localizer: Localizer = None,
    vertebrae: Vertebrae = None,
    vertebrae_labels: VertebraeLabels = "auto",
    series: Annotated[
        list[str] | None,
        typer.Option("--series", help="Read the series with this UID instead of its study's best; may be repeated."),
    ] = None,
    workers: Workers = WORKERS,
    shard: ShardOption = None,
    dask: DaskOption = None,
    max_gap_mm: MaxGap = MAX_GAP,
    as_json: Json = False,
) -> int:
    """Compile every study into small JPEGs and Parquet tables with the labels.

    The sagittal images are curved along the spine, so that the midline stays the midline in a rotated or tilted neck;
    each vertebra also gets views along its own axes, in one mosaic. An interrupted run is resumed by the same command.
    Exit code 1: a study could not be compiled. Of a shard, cspine merge tells that.
    """
    from cspine.pipelines.compile import compile_dataset

    how = execution(workers, shard, dask)
    settings = _settings(count, views, straight=straight, levels=levels)
    with progress_bar() as progress:
        summary = compile_dataset(
            path,
            out,
            settings,
            localizer=localizer,
            vertebrae=vertebrae,
            vertebrae_labels=vertebrae_labels,
            series_uids=series or (),
            max_gap_mm=max_gap_mm,
            workers=how,
            progress=progress,
        )
    how = settled(how, out)
    if as_json:
        print_json({**vars(summary), "compression_ratio": summary.compression_ratio})
    else:
        _show(summary, how, out)
    return exit_code(complete=how.shard is not None or not summary.failed)


def _settings(count: int, views: str | None, *, straight: bool, levels: bool) -> "CompileSettings":
    from cspine.views.level_views import LevelViewSettings
    from cspine.views.sagittal import SagittalSettings
    from cspine.views.settings import CompileSettings

    if views and (straight or not levels):
        raise InputError("--views: are those of vertebrae; leave it out, or --straight and --no-levels")
    sagittal = SagittalSettings(count=count)
    if straight:
        return CompileSettings(spine_aligned=False, sagittal=sagittal, levels=None)
    n_sagittal, n_coronal, n_axial = three_counts("--views", views) if views else (5, 5, 5)
    level_views = LevelViewSettings(sagittal=n_sagittal, coronal=n_coronal, axial=n_axial) if levels else None
    return CompileSettings(sagittal=sagittal, levels=level_views)


def _show(summary: "CompileSummary", how: "Execution", folder: Path) -> None:
    done = summary.compiled + summary.resumed
    before = f" ({summary.resumed} of them by an earlier run)" if summary.resumed else ""
    say(f"{done} studies compiled{before}, {len(summary.failed)} failed: {folder}")
    if summary.compression_ratio is not None and summary.seconds_per_study is not None:
        say(
            f"{size(summary.bytes_in)} of DICOM became {size(summary.bytes_out)} of JPEG, "
            f"{summary.compression_ratio:,.0f} times smaller; {summary.seconds_per_study:.2f} s per study and process"
        )
    if summary.without_labels:
        say(f"{summary.without_labels} studies have no row in train.csv; they are compiled without labels")
    if summary.skipped:
        name, reason = summary.skipped[0]
        say_error(f"{len(summary.skipped)} files were skipped, first: {name}: {reason}")
    for uid, reason in summary.failed[:_MAX_SHOWN]:
        say_error(f"study {uid}: {reason.removeprefix(f'study {uid}: ')}")
    if len(summary.failed) > _MAX_SHOWN:
        say_error(f"and {len(summary.failed) - _MAX_SHOWN} more; studies.parquet holds every reason")
    say_shard(how, folder)
    say_research_only()

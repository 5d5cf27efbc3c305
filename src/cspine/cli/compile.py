"""``cspine compile``: studies to small sagittal images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import (
    DONE,
    SOME_FAILED,
    app,
    handle_errors,
    print_json,
    progress_bar,
    say,
    say_error,
    say_research_only,
    size,
)
from cspine.cli.options import MAX_GAP, WORKERS, Json, Localizer, MaxGap, Workers, three_counts

if TYPE_CHECKING:
    from cspine.localization.compiler import Compiler
    from cspine.pipelines.compile import CompileSummary

_EPILOG = "Examples:  cspine compile rsna/ --out compiled   |   cspine compile studies/ --out compiled --count 15"
_SHOWN = 10


@app.command("compile", epilog=_EPILOG)
@handle_errors
def compile_command(
    path: Annotated[Path, typer.Argument(help="The challenge's folder (train_images/), or any folder of studies.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the compiled data set; resumed if begun before.")],
    count: Annotated[int, typer.Option("--count", min=1, max=99, help="Sagittal images per study.")] = 9,
    straight: Annotated[
        bool, typer.Option("--straight", help="The notebook's own way: parallel planes, and nothing is localised.")
    ] = False,
    levels: Annotated[
        bool, typer.Option("--levels/--no-levels", help="Whether each vertebra gets images of its own.")
    ] = True,
    views: Annotated[
        str | None, typer.Option("--views", help="Sagittal, coronal and axial images of each vertebra; 5,5,5.")
    ] = None,
    localizer: Localizer = None,
    series: Annotated[
        list[str] | None,
        typer.Option("--series", help="Read the series with this UID instead of its study's best; may be repeated."),
    ] = None,
    workers: Workers = WORKERS,
    max_gap_mm: MaxGap = MAX_GAP,
    as_json: Json = False,
) -> int:
    """Compile every study into small JPEGs and Parquet tables with the labels.

    The sagittal images follow the spine, so that the midline stays the midline in a turned or tilted neck; each
    vertebra gets planes along its own axes as well, in one mosaic.

    Run the same command again after an interruption and it goes on where it stopped.
    """
    from cspine.dicom.study_collection import open_collection
    from cspine.pipelines.compile import compile_studies

    with progress_bar() as progress:
        root = open_collection(path, progress=progress)
        compiler = _compiler(count, views, localizer, straight=straight, levels=levels)
        summary = compile_studies(
            root,
            out,
            compiler,
            series_uids=series or (),
            max_gap_mm=max_gap_mm,
            workers=workers,
            progress=progress,
        )
    if as_json:
        print_json({**vars(summary), "times_smaller": summary.times_smaller})
    else:
        _show(summary, out)
    return SOME_FAILED if summary.failed else DONE


def _compiler(count: int, views: str | None, localizer: str | None, *, straight: bool, levels: bool) -> "Compiler":
    from cspine.localization.compiler import Compiler
    from cspine.localization.loading import load_localizer
    from cspine.views.level_views import LevelViewSettings
    from cspine.views.sagittal import SagittalSettings
    from cspine.views.settings import CompileSettings

    sagittal = SagittalSettings(count=count)
    if straight:
        return Compiler(CompileSettings(spine_aligned=False, sagittal=sagittal, levels=None))
    sagittals, coronals, axials = three_counts("--views", views) if views else (5, 5, 5)
    chosen = LevelViewSettings(sagittal=sagittals, coronal=coronals, axial=axials) if levels else None
    return Compiler(CompileSettings(sagittal=sagittal, levels=chosen), load_localizer(localizer))


def _show(summary: "CompileSummary", folder: Path) -> None:
    done = summary.compiled + summary.resumed
    before = f" ({summary.resumed} of them before)" if summary.resumed else ""
    say(f"{done} studies compiled{before}, {len(summary.failed)} failed: {folder}")
    if summary.times_smaller is not None and summary.seconds_per_study is not None:
        say(
            f"{size(summary.bytes_in)} of DICOM became {size(summary.bytes_out)} of JPEG, "
            f"{summary.times_smaller:,.0f} times smaller; {summary.seconds_per_study:.2f} s per study and process"
        )
    if summary.without_labels:
        say(f"{summary.without_labels} studies have no row in train.csv; they are compiled without labels")
    for uid, reason in summary.failed[:_SHOWN]:
        say_error(f"study {uid}: {reason}")
    if len(summary.failed) > _SHOWN:
        say_error(f"and {len(summary.failed) - _SHOWN} more; studies.parquet holds every reason")
    say_research_only()

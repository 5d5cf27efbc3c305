"""``cspine compile``: studies to small sagittal images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import (
    DONE,
    SOME_FAILED,
    app,
    print_json,
    progress_bar,
    say,
    say_error,
    say_research_only,
    sentences,
    size,
)
from cspine.cli.options import MAX_GAP, WORKERS, Json, MaxGap, Workers

if TYPE_CHECKING:
    from cspine.reformat.compile import CompileSummary

_EPILOG = "Examples:  cspine compile rsna/ --out compiled   |   cspine compile studies/ --out compiled --count 15"
_SHOWN = 10


@app.command("compile", epilog=_EPILOG)
@sentences
def compile_command(
    path: Annotated[Path, typer.Argument(help="The challenge's folder (train_images/), or any folder of studies.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the compiled data set; resumed if begun before.")],
    count: Annotated[int, typer.Option("--count", min=1, max=99, help="Sagittal images per study.")] = 9,
    series: Annotated[
        list[str] | None,
        typer.Option("--series", help="Read the series with this UID instead of its study's best; may be repeated."),
    ] = None,
    workers: Workers = WORKERS,
    max_gap_mm: MaxGap = MAX_GAP,
    as_json: Json = False,
) -> int:
    """Compile every study into a few sagittal JPEGs and a Parquet manifest with the labels.

    Run the same command again after an interruption and it goes on where it stopped.
    """
    from cspine.imaging.layout import open_root
    from cspine.reformat.compile import compile_studies
    from cspine.reformat.sagittal import SagittalSettings
    from cspine.reformat.study import Compiler, CompileSettings

    with progress_bar() as progress:
        root = open_root(path, progress=progress)
        settings = CompileSettings(follow=False, sagittal=SagittalSettings(count=count), levels=None)
        summary = compile_studies(
            root,
            out,
            Compiler(settings),
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

"""``cspine localize``: which vertebrae are in a scan, and where."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import (
    DONE,
    SOME_FAILED,
    app,
    escape_control_characters,
    handle_errors,
    out,
    print_json,
    progress_bar,
    say,
    say_error,
    say_research_only,
)
from cspine.cli.options import MAX_GAP, Json, Localizer, MaxGap, SeriesUid

if TYPE_CHECKING:
    from cspine.core.findings import Spine

_EPILOG = "Examples:  cspine localize study/   |   cspine localize study.zip --out spine"


@app.command("localize", epilog=_EPILOG)
@handle_errors
def localize_command(
    path: Annotated[Path, typer.Argument(help="A study: a folder, a zip or a file; or a folder of many studies.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for spine.json and spine.png; of many studies, one each.")
    ] = None,
    localizer: Localizer = None,
    series: SeriesUid = None,
    max_gap_mm: MaxGap = MAX_GAP,
    as_json: Json = False,
) -> int:
    """Find C1 to C7 and what lies below: place, how much of each was scanned, how sure its level is.

    Only the slices that this takes are decoded. Exit code 1 says that a study shows no cervical vertebra, or cannot be
    read.
    """
    from cspine.localization.loading import load_localizer
    from cspine.pipelines.localize_batch import locate_studies

    with progress_bar() as progress:
        spines = locate_studies(
            path, load_localizer(localizer), out_dir, series_uid=series, max_gap_mm=max_gap_mm, progress=progress
        )
    if as_json:
        print_json([spine.model_dump(mode="json") for spine in spines])
    else:
        for spine in spines:
            _show(spine)
        if out_dir is not None:
            say(f"written: {out_dir}")
    say_research_only()
    return SOME_FAILED if any(spine.not_assessable for spine in spines) else DONE


def _show(spine: "Spine") -> None:
    """Print a study's vertebrae as a table, or why there are none."""
    from rich.table import Table

    out.print(f"\n[bold]Study[/] {escape_control_characters(spine.study_instance_uid)}")
    if spine.series_reasons:
        out.print(f"read: {escape_control_characters(', '.join(spine.series_reasons))}", soft_wrap=True)
    if spine.not_assessable is not None:
        say_error(f"no answer: {spine.not_assessable.reason}")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("level", "scanned", "share", "sure", "middle, LPS mm"):
        table.add_column(name, justify="left" if name in {"level", "scanned"} else "right")
    found = {vertebra.level: vertebra for vertebra in spine.vertebrae}
    for level in dict.fromkeys([*spine.coverage, *found]):
        if level not in found:
            table.add_row(level, "absent", "", "", "")
            continue
        vertebra = found[level]
        x, y, z = vertebra.centroid_lps_mm
        scanned_fraction, sure = f"{100 * vertebra.scanned_fraction:.0f} %", f"{100 * vertebra.confidence:.0f} %"
        table.add_row(vertebra.level, vertebra.coverage, scanned_fraction, sure, f"{x:.1f}  {y:.1f}  {z:.1f}")
    out.print(table)
    for warning in spine.warnings:
        out.print(f"warning: {escape_control_characters(warning)}", style="yellow", soft_wrap=True)

"""``cspine inspect``: what is there, what would be read, and why."""

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
    size,
)
from cspine.cli.options import MAX_GAP, Json, MaxGap, SeriesUid

if TYPE_CHECKING:
    from cspine.dicom.inspection import InspectionReport, SeriesReport

_EPILOG = "Examples:  cspine inspect study/   |   cspine inspect study.zip --json"


@app.command("inspect", epilog=_EPILOG)
@handle_errors
def inspect_command(
    path: Annotated[Path, typer.Argument(help="A DICOM, DICOMDIR or NIfTI file, a folder of any depth, or a zip.")],
    series: SeriesUid = None,
    max_gap_mm: MaxGap = MAX_GAP,
    as_json: Json = False,
) -> int:
    """Show the studies and series at PATH, which series would be read and why, and their geometry."""
    from cspine.dicom.inspection import inspect

    with progress_bar() as progress:
        report = inspect(path, series_uid=series, max_gap_mm=max_gap_mm, progress=progress)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _show(report)
    return DONE if report.all_readable else SOME_FAILED


def _show(report: "InspectionReport") -> None:
    from rich.table import Table

    for study in report.studies:
        out.print(f"\n[bold]Study[/] {escape_control_characters(study.study_instance_uid or 'without UID')}")
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("", "series", "slices", "geometry", "syntax", "why"):
            table.add_column(heading, overflow="fold")
        for series in study.series:
            syntaxes = escape_control_characters(", ".join(series.transfer_syntaxes))
            mark = "[green]read[/]" if series.chosen and study.readable else "[red]fails[/]" if series.chosen else "-"
            name = escape_control_characters(series.series_instance_uid[-24:] or "without UID")
            why = escape_control_characters("; ".join(series.reasons))
            table.add_row(mark, name, f"{series.slices} ({size(series.bytes)})", _geometry(series), syntaxes, why)
        out.print(table)
        for series in study.series:
            if series.chosen and series.missing:
                lacking = ", ".join(f"{tag} ({count})" for tag, count in series.missing.items())
                out.print(f"  missing from files: {lacking}", style="yellow")
        if study.reason:
            out.print(f"  [red]cannot be read:[/] {escape_control_characters(study.reason)}")
    for reason, count in report.skipped.items():
        out.print(f"{count} file{'s' * (count > 1)} skipped: {escape_control_characters(reason)}", style="yellow")


def _geometry(series: "SeriesReport") -> str:
    shape = series.geometry
    if shape is None:
        return "no place in space"
    row, column = shape.pixel_spacing_mm
    gaps = (
        f"every {shape.slice_spacing_mm:.2f} mm"
        if shape.is_even
        else f"gaps {shape.smallest_gap_mm:.2f}-{shape.widest_gap_mm:.2f} mm"
    )
    said = f"{shape.plane}, {shape.rows} x {shape.columns} at {row:.2f} x {column:.2f} mm, {gaps}"
    said += f", {shape.length_mm:.0f} mm long, tilt {shape.tilt_deg:.1f} deg"
    return said + (f", {shape.duplicates} duplicates" if shape.duplicates else "")

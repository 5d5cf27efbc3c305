"""``cspine inspect``: DICOM inspection; what a path holds, which series would be read and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import (
    app,
    escape_control_characters,
    exit_code,
    handle_errors,
    out,
    print_json,
    progress_bar,
    size,
)
from cspine.cli.options import MAX_GAP, Json, MaxGap, SeriesUid
from cspine.cli.tables import make_table, print_table, print_text

if TYPE_CHECKING:
    from cspine.dicom.inspection import InspectionReport, SeriesReport, StudyReport

_EPILOG = "Examples:  cspine inspect study/   |   cspine inspect study.zip --json"
_SHOWN_UID_CHARACTERS = 24


@app.command("inspect", epilog=_EPILOG)
@handle_errors
def inspect_command(
    path: Annotated[Path, typer.Argument(help="A DICOM, DICOMDIR or NIfTI file, a folder of any depth, or a zip.")],
    series: SeriesUid = None,
    max_gap_mm: MaxGap = MAX_GAP,
    as_json: Json = False,
) -> int:
    """Inspect DICOM: the studies and series at PATH, their geometry, which series would be read and why.

    Only headers are read. Exit code 1: a study could not be loaded.
    """
    from cspine.dicom.inspection import inspect

    with progress_bar() as progress:
        report = inspect(path, series_uid=series, max_gap_mm=max_gap_mm, progress=progress)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _show(report)
    return exit_code(complete=report.all_readable)


def _show(report: "InspectionReport") -> None:
    for study in report.studies:
        _show_study(study)
    for reason, count in report.skipped.items():
        print_text(f"{count} file{'s' * (count > 1)} skipped: ", reason, style="yellow")


def _show_study(study: "StudyReport") -> None:
    print_text("\n[bold]Study[/] ", study.study_instance_uid or "without UID")
    table = make_table("", "series", "slices", "geometry", "transfer syntax", "reasons")
    for series in study.series:
        state = "-" if not series.selected else "[green]read[/]" if study.readable else "[red]fails[/]"
        table.add_row(
            state,
            escape_control_characters(series.series_instance_uid[-_SHOWN_UID_CHARACTERS:] or "without UID"),
            f"{series.slices} ({size(series.bytes)})",
            _geometry(series),
            escape_control_characters(", ".join(series.transfer_syntaxes)),
            escape_control_characters("; ".join(series.reasons)),
        )
    print_table(table)
    for series in study.series:
        print_text(f"  series of {series.slices} slices: ", series.series_instance_uid or "none")
    for series in study.series:
        if series.selected and series.missing:
            missing = ", ".join(f"{tag} ({count})" for tag, count in series.missing.items())
            out.print(f"  missing from files: {missing}", style="yellow")
    if study.candidates > 1:
        out.print(
            f"  ranked by headers: of the {study.candidates} series that can be read, predict, localize and compile "
            "read the one that shows most of the neck"
        )
    if study.reason:
        print_text("  [red]cannot be read:[/] ", study.reason)


def _geometry(series: "SeriesReport") -> str:
    """Return the geometry of a series in one line."""
    geometry = series.geometry
    if geometry is None:
        return "no position in space"
    row, column = geometry.pixel_spacing_mm
    gaps = (
        f"every {geometry.slice_spacing_mm:.2f} mm"
        if geometry.is_even
        else f"gaps {geometry.smallest_gap_mm:.2f}-{geometry.widest_gap_mm:.2f} mm"
    )
    parts = [
        geometry.plane,
        f"{geometry.rows} x {geometry.columns} at {row:.2f} x {column:.2f} mm",
        gaps,
        f"{geometry.length_mm:.0f} mm long",
        f"tilt {geometry.tilt_deg:.1f} deg",
    ]
    return ", ".join(parts + [f"{geometry.duplicates} duplicates"] * bool(geometry.duplicates))

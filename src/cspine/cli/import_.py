"""``cspine import``: other people's data sets, with one form of truth."""

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
from cspine.cli.duplicates import describe_duplicate
from cspine.cli.options import WORKERS, Json, VertebraeLabels, Workers
from cspine.core.errors import InputError
from cspine.core.extras import require_extra
from cspine.core.text import counted
from cspine.importing.data_source import KNOWN_SOURCES, DataSource, ImageMode, Layout

if TYPE_CHECKING:
    from cspine.pipelines.import_dataset import ImportSummary

_EPILOG = "Example:  cspine import verse VerSe/ --out verse --beside rsna-imported"

_MAX_SHOWN = 10


@app.command("import", epilog=_EPILOG)
@handle_errors
def import_command(
    layout: Annotated[Layout, typer.Argument(help="Whose layout the data set has.")],
    source: Annotated[Path, typer.Argument(help="Root of the unpacked data set.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for truth and manifest; an interrupted run is resumed.")],
    images: Annotated[
        ImageMode, typer.Option("--images", help="Whether images stay where they lie, are linked, or are copied.")
    ] = "refer",
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", help="Imported data set in which patients may occur, too; may be repeated."),
    ] = None,
    vertebrae: Annotated[
        Path | None, typer.Option("--vertebrae", help="Folder of masks of vertebrae; of the layouts hdn and nifti.")
    ] = None,
    vertebrae_labels: VertebraeLabels = "auto",
    fractures: Annotated[
        Path | None, typer.Option("--fractures", help="Folder of masks of fractures; of the layout nifti.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Labels in the form of train.csv; of the layout nifti.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the data set.")] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="License of the data; needed of the layout nifti.")
    ] = None,
    data_version: Annotated[str | None, typer.Option("--data-version", help="Version or date of the data.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Page that offers the data.")] = None,
    citation: Annotated[str | None, typer.Option("--citation", help="What its authors ask to be cited.")] = None,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> int:
    """Import a data set: labels and masks in the challenge's form, with license, source and hashes of the scans.

    Masks of vertebrae and fractures are laid on the voxels of the scans, in one numbering. What is written is read by
    compile, train, evaluate and split. Images stay where they lie. Exit code 1: a study could not be imported.
    """
    require_extra("evaluate")
    from cspine.importing.cases import AddedLabels
    from cspine.pipelines.import_dataset import import_dataset

    given = {"name": name, "license": license_, "version": data_version, "url": url, "citation": citation}
    with progress_bar() as progress:
        summary = import_dataset(
            layout,
            source,
            out,
            _data_source(layout, source, {key: value for key, value in given.items() if value is not None}),
            AddedLabels(vertebrae, vertebrae_labels, fractures, labels),
            images=images,
            beside=beside or (),
            workers=workers,
            progress=progress,
        )
    if as_json:
        print_json({**vars(summary), "duplicates": [describe_duplicate(each) for each in summary.duplicates]})
    else:
        _show(summary, out)
    return exit_code(complete=not summary.failed)


def _data_source(layout: Layout, source: Path, given: dict[str, str]) -> DataSource:
    """Return where the data come from: as is known of the layout, and as the options say."""
    known = KNOWN_SOURCES.get(layout)
    if known is not None:
        return known.model_copy(update=given)
    if "license" not in given:
        raise InputError(f"--license: is needed of the layout {layout}, since nobody else knows it; name the license")
    return DataSource.model_validate({"name": source.resolve().name, **given})


def _show(summary: "ImportSummary", out: Path) -> None:
    before = f" ({summary.resumed} of them by an earlier run)" if summary.resumed else ""
    say(f"{counted(summary.imported, 'study', 'studies')} imported{before}, {len(summary.failed)} failed: {out}")
    say(f"{summary.with_vertebrae} with masks of vertebrae, {summary.with_labels} with labels of C1 to C7")
    if summary.with_unknown_levels:
        say(f"{summary.with_unknown_levels} with a fracture of unknown level; masks of vertebrae (--vertebrae) tell it")
    for each in summary.warnings[:_MAX_SHOWN]:
        say_error(each)
    if summary.left_out:
        count = counted(len(summary.left_out), "study", "studies")
        say(f"{count} left out, first: {summary.left_out[0][0]}: {summary.left_out[0][1]}")
    for case, reason in summary.failed[:_MAX_SHOWN]:
        say_error(f"{case}: {reason}")
    for duplicate in summary.duplicates[:_MAX_SHOWN]:
        say(describe_duplicate(duplicate))
    if len(summary.duplicates) > _MAX_SHOWN:
        say(f"and {len(summary.duplicates) - _MAX_SHOWN} more scans twice; `cspine duplicates` lists them")
    say_research_only()

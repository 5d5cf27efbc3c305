"""``cspine duplicates``: scans that occur in several data sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, say, say_research_only
from cspine.cli.options import Json
from cspine.core.extras import require_extra
from cspine.core.storage.locations import as_path

if TYPE_CHECKING:
    from cspine.datasets.duplicates import Duplicate

_EPILOG = "Example:  cspine duplicates rsna-imported verse"


@app.command("duplicates", epilog=_EPILOG)
@handle_errors
def duplicates_command(
    sets: Annotated[list[Path], typer.Argument(help="Data sets of cspine import.")],
    as_json: Json = False,
) -> None:
    """List scans that occur twice, in one or several imported data sets, by the hashes of their voxels."""
    require_extra("evaluate")
    from cspine.datasets.duplicates import find_duplicates
    from cspine.datasets.scan_records import read_scan_records

    records = [record for folder in sets for record in read_scan_records(as_path(folder))]
    duplicates = [describe_duplicate(each) for each in find_duplicates(records)]
    if as_json:
        print_json({"studies": len(records), "duplicates": duplicates})
        return
    for each in duplicates:
        say(each)
    say(f"{len(records)} studies, {len(duplicates)} pairs of one scan")
    say_research_only()


def describe_duplicate(duplicate: "Duplicate") -> str:
    """Return the sentence about a pair of records of one scan."""
    first, second = duplicate.first, duplicate.second
    planes = f", {duplicate.n_planes} planes alike" if duplicate.n_planes else ""
    labels = "; their labels differ" if duplicate.labels_differ else ""
    return (
        f"{Path(first.data_set).name}/{first.study} and {Path(second.data_set).name}/{second.study}: "
        f"{duplicate.evidence}{planes}{labels}"
    )

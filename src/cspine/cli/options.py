"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.core.errors import InputError
from cspine.core.parallel import default_workers
from cspine.dicom.geometry import MAX_GAP_MM

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes to use.", show_default="all processors")]
MaxGap = Annotated[
    float, typer.Option("--max-gap-mm", min=0.1, help="Widest gap between slices that is bridged, in mm.")
]
SeriesUid = Annotated[
    str | None, typer.Option("--series", help="Read the series with this UID instead of the best; see cspine inspect.")
]
Localizer = Annotated[
    str | None,
    typer.Option("--localizer", help="A localizer's name or ONNX file; the one that comes with cspine if left out."),
]
Data = Annotated[Path, typer.Option("--data", help="A compiled data set (of cspine compile).")]
Run = Annotated[Path, typer.Option("--run", help="A training run (of cspine train).")]

MOST_VIEWS = 30

WORKERS = default_workers()
MAX_GAP = MAX_GAP_MM


def three_counts(option: str, text: str) -> tuple[int, int, int]:
    """Return three whole numbers that are given with commas between.

    Raises
    ------
    InputError
        They are none.
    """
    parts = text.split(",")
    counts = [int(part) for part in parts if part.strip().isdecimal() and len(part) < 4]
    if len(parts) != 3 or len(counts) != 3 or max(counts) > MOST_VIEWS or not any(counts):
        raise InputError(
            f"{option} {text}: takes numbers of sagittal, coronal and axial views from 0 to {MOST_VIEWS}, such as 3,3,3"
        )
    sagittal, coronal, axial = counts
    return sagittal, coronal, axial

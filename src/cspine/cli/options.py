"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.imaging.geometry import MAX_GAP_MM
from cspine.scale import default_workers

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes to use.", show_default="all processors")]
MaxGap = Annotated[
    float, typer.Option("--max-gap-mm", min=0.1, help="Widest gap between slices that is bridged, in mm.")
]
SeriesUid = Annotated[
    str | None, typer.Option("--series", help="Read the series with this UID instead of the best; see cspine inspect.")
]
Data = Annotated[Path, typer.Option("--data", help="A compiled data set (of cspine compile).")]
Run = Annotated[Path, typer.Option("--run", help="A training run (of cspine train).")]

WORKERS = default_workers()
MAX_GAP = MAX_GAP_MM

"""``cspine describe``: what a data set holds."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.app import app, sentences
from cspine.cli.options import Json

_EPILOG = "Examples:  cspine describe compiled/   |   cspine describe rsna/ --out figures"


@app.command("describe", epilog=_EPILOG)
@sentences
def describe_command(
    data: Annotated[Path, typer.Argument(help="A compiled data set, or a folder in the challenge's layout.")],
    figures: Annotated[
        Path | None, typer.Option("--out", help="Folder for the figures; beside the data set if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show labels per level, which levels break together, and the geometry of the series."""

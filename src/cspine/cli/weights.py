"""``cspine weights``: which weights are at hand, whether they are whole, and more from a file."""

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
    say,
    say_error,
    say_research_only,
    size,
)
from cspine.cli.options import Json
from cspine.core.errors import InputError

if TYPE_CHECKING:
    from cspine.models.registry import RegisteredWeights

_EPILOG = "Examples:  cspine weights   |   cspine weights --install run/weights.onnx --name mine --sha256 9f86d0..."


@app.command("weights", epilog=_EPILOG)
@handle_errors
def weights_command(
    install: Annotated[
        Path | None, typer.Option("--install", help="Copy this ONNX file of cspine train to the weights at hand.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What to call it by; its file's name if left out.")] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="The hash that the file must have.")] = None,
    as_json: Json = False,
) -> int:
    """List and verify the weights at hand, or install others from a file; nothing is ever fetched.

    Each file is loaded and its SHA-256 held against the one that it came with. Exit code 1 says that one failed.
    """
    from cspine.models.registry import install as install_file
    from cspine.models.registry import list_weights, weights_folder

    if install is None and (name or sha256):
        raise InputError("--name and --sha256 belong to --install; name the file to install")
    found = [install_file(install, name or install.stem, sha256)] if install else list_weights()
    if as_json:
        print_json([{**vars(each), "path": str(each.path) if each.path else None} for each in found])
    else:
        _show(found)
        say(f"installed weights lie in {weights_folder()}")
    say_research_only()
    return SOME_FAILED if any(each.fault for each in found) else DONE


def _show(found: "list[RegisteredWeights]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("name", "network", "size", "sha256", "trained on"):
        table.add_column(heading, overflow="fold")
    for each in found:
        told = escape_control_characters(each.trained_on) + (" [yellow](phantoms only)[/]" if each.phantom_only else "")
        table.add_row(
            escape_control_characters(each.name),
            escape_control_characters(each.network or "-"),
            size(each.size),
            each.sha256[:16],
            told,
        )
    out.print(table)
    for each in found:
        if each.fault:
            say_error(each.fault)

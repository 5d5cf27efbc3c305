"""``cspine weights``: the registry of weights; list, verify, install from a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import (
    app,
    escape_control_characters,
    exit_code,
    handle_errors,
    print_json,
    say,
    say_error,
    say_research_only,
    size,
)
from cspine.cli.options import Json
from cspine.cli.tables import make_table, print_table
from cspine.core.errors import InputError

if TYPE_CHECKING:
    from cspine.models.registry import RegisteredWeights

_EPILOG = "Examples:  cspine weights   |   cspine weights --install run/weights.onnx --name mine --sha256 9f86d0..."


@app.command("weights", epilog=_EPILOG)
@handle_errors
def weights_command(
    install: Annotated[
        Path | None, typer.Option("--install", help="Copy this ONNX file of cspine train into the registry.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Its name in the registry; the file's if omitted.")] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="The SHA-256 that the file must have.")] = None,
    as_json: Json = False,
) -> int:
    """List and verify the registered weights, or install others from a file; nothing is downloaded.

    Each file is loaded, and its SHA-256 compared with the recorded one. Exit code 1: one of them cannot be used.
    """
    from cspine.models.registry import install_weights, list_weights, weights_folder

    if install is None and (name or sha256):
        raise InputError("--name and --sha256 belong to --install; name the file to install")
    weights = [install_weights(install, name or install.stem, sha256)] if install else list_weights()
    if as_json:
        print_json([{**vars(each), "path": str(each.path) if each.path else None} for each in weights])
    else:
        _show(weights)
        say(f"installed weights lie in {weights_folder() or 'no folder, since this user has no home directory'}")
    say_research_only()
    return exit_code(complete=all(each.fault is None for each in weights))


def _show(weights: "list[RegisteredWeights]") -> None:
    table = make_table("name", "network", "size", "sha256", "trained on")
    for each in weights:
        note = " [yellow](phantoms only)[/]" if each.phantom_only else ""
        table.add_row(
            escape_control_characters(each.name),
            escape_control_characters(each.network or "-"),
            size(each.size),
            each.sha256[:16],
            escape_control_characters(each.trained_on) + note,
        )
    print_table(table)
    for each in weights:
        if each.fault:
            say_error(each.fault)

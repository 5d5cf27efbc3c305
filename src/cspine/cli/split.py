"""``cspine split``: a locked split into train, validation, test and holdout."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, say
from cspine.cli.options import Json
from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.core.errors import InputError

_EPILOG = "Example:  cspine split --truth rsna/train.csv --out split.json"


@app.command("split", epilog=_EPILOG)
@handle_errors
def split_command(
    out: Annotated[Path, typer.Option("--out", help="The JSON to write; a split in it is never replaced.")],
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="Reference standard: train.csv, a folder with it, or a compiled data set."),
    ] = None,
    sets: Annotated[
        list[Path] | None,
        typer.Option("--sets", help="In place of --truth: an imported data set; repeat it for each of several."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random generator.")] = 0,
    fractions: Annotated[
        str, typer.Option("--fractions", help="Fractions of patients in train, validation, test and holdout.")
    ] = "0.6,0.15,0.1,0.15",
    as_json: Json = False,
) -> None:
    """Split studies by patient into train, validation, test and holdout, stratified over all labels, and lock them.

    Across imported data sets (--sets), patients whose scans are in several of them are one patient.
    """
    from cspine.datasets.locked_split import HOLDOUT, PARTS
    from cspine.pipelines.split import split_sets, split_studies

    parsed = _parse_fractions(fractions, PARTS)
    if truth is not None and not sets:
        summary = split_studies(truth, out, parsed, seed=seed)
    elif sets and truth is None:
        summary = split_sets(sets, out, parsed, seed=seed)
    else:
        raise InputError("--truth, --sets: give one of them, --truth of one data set or --sets of imported ones")
    if as_json:
        print_json(summary.to_json())
        return
    for part, studies in summary.split.parts.items():
        counts = summary.n_fractured[part]
        levels = ", ".join(f"{level} {counts[level]}" for level in VERTEBRAE)
        say(f"{part}: {len(studies)} studies, {counts[OVERALL]} fractured ({levels})")
    say(f"{out}, hash {summary.split.sha256[:16]}; evaluations on '{HOLDOUT}' are recorded beside it")


def _parse_fractions(text: str, parts: tuple[str, ...]) -> dict[str, float]:
    try:
        fractions = [float(part) for part in text.split(",")]
    except ValueError:
        fractions = []
    if len(fractions) != len(parts):
        raise InputError(
            f"--fractions {text}: takes {len(parts)} fractions with commas between, such as 0.6,0.15,0.1,0.15"
        )
    return dict(zip(parts, fractions, strict=True))

"""``cspine split``: which studies are learnt from, chosen on, tested on, and hidden."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.app import app, handle_errors, print_json, say
from cspine.cli.options import Json

_EPILOG = "Example:  cspine split --truth rsna/train.csv --out split.json"


@app.command("split", epilog=_EPILOG)
@handle_errors
def split_command(
    truth: Annotated[
        Path, typer.Option("--truth", help="A train.csv, a folder that holds one, or a compiled data set.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The JSON to write; one that is there is never changed.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides between equals.")] = 0,
    fractions: Annotated[
        str, typer.Option("--fractions", help="Shares of patients in train, validation, test and holdout.")
    ] = "0.6,0.15,0.1,0.15",
    as_json: Json = False,
) -> None:
    """Split studies by patient into train, validation, test and holdout, balanced over all labels, once and for all."""
    from cspine.core.anatomy import TARGETS
    from cspine.datasets.locked_split import PARTS, make_split, write_split
    from cspine.datasets.reference_standard import read_reference_standard

    known = read_reference_standard(truth)
    split = make_split(known, _shares(fractions, PARTS), seed=seed)
    write_split(split, out)
    counts = {part: known.labels.loc[list(studies), list(TARGETS)].sum() for part, studies in split.parts.items()}
    if as_json:
        told = {part: {target: int(count) for target, count in counts[part].items()} for part in split.parts}
        sizes = {part: len(studies) for part, studies in split.parts.items()}
        print_json({"file": str(out), "sha256": split.sha256, "studies": sizes, "fractured": told})
        return
    for part, studies in split.parts.items():
        broken = ", ".join(f"{level} {count}" for level, count in counts[part].items() if level in TARGETS[1:])
        say(f"{part}: {len(studies)} studies, {counts[part][TARGETS[0]]} fractured ({broken})")
    say(f"{out}, hash {split.sha256[:16]}; looks at 'hidden' are recorded beside it")


def _shares(text: str, parts: tuple[str, ...]) -> dict[str, float]:
    from cspine.core.errors import InputError

    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) != len(parts):
        raise InputError(
            f"--fractions {text}: takes {len(parts)} shares with commas between, such as 0.6,0.15,0.1,0.15"
        )
    return dict(zip(parts, shares, strict=True))

"""``cspine ablate``: performance and cost against the number of views."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import WORKERS, Json, Workers
from cspine.core.extras import require_extra

_EPILOG = "Example:  cspine ablate --train phantom --test phantom-test --views 1,3,5,9,15,21 --out ablation"


class Network(StrEnum):
    """The network that is trained with each number of views."""

    baseline = "baseline-cnn"
    levels = "levels"


@app.command("ablate", epilog=_EPILOG)
@handle_errors
def ablate_command(
    train: Annotated[Path, typer.Option("--train", help="Training studies: a folder in the challenge's layout.")],
    test: Annotated[Path, typer.Option("--test", help="Studies of other patients, to evaluate on.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for data sets, runs and the report.")],
    views: Annotated[str, typer.Option("--views", help="Numbers of views, with commas between.")] = "1,3,5,9,15,21",
    model: Annotated[
        Network,
        typer.Option("--model", help="baseline-cnn: sagittal images of a study; levels: views of each vertebra."),
    ] = Network.baseline,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training set, at most.")] = 40,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of split, initial weights and order.")] = 0,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> None:
    """Train and evaluate the same network with one number of views after the other: accuracy, bytes and time."""
    require_extra("train")
    from cspine.pipelines.ablate import AblationSettings, ablate
    from cspine.reports.evaluation.ablation_report import ablation_summary

    settings = AblationSettings(model.value, epochs, seed, workers)
    with progress_bar() as progress:
        run = ablate(train, test, out, _parse_counts(views), settings, progress=progress)
    if as_json:
        print_json(run.summary)
        return
    say(ablation_summary(run.ablation))
    say(f"Open the report:  {run.report}")
    say_research_only()


def _parse_counts(text: str) -> list[int]:
    from cspine.core.errors import InputError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 4 for part in parts):
        raise InputError(f"--views {text}: takes whole numbers with commas between, such as 1,3,5,9")
    return [int(part) for part in parts]

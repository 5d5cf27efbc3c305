"""``cspine ablate``: performance and cost against the number of views."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import WORKERS, Json, Workers, check_used
from cspine.core.errors import InputError
from cspine.core.extras import require_extra

if TYPE_CHECKING:
    from cspine.pipelines.experiments.learning_curve import LearningCurveSettings

_EPILOG = "Example:  cspine ablate --train phantom --test phantom-test --views 1,3,5,9,15,21 --out ablation"


class Network(StrEnum):
    """The network that is trained with each number of views."""

    baseline = "baseline-cnn"
    levels = "levels"


@app.command("ablate", epilog=_EPILOG)
@handle_errors
def ablate_command(
    context: typer.Context,
    train: Annotated[Path, typer.Option("--train", help="Training studies: a folder in the challenge's layout.")],
    test: Annotated[Path, typer.Option("--test", help="Studies of other patients, to evaluate on.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for data sets, runs and the report.")],
    views: Annotated[
        str | None,
        typer.Option(
            "--views",
            help="Numbers of views, with commas between; with --train-fraction one number.",
            show_default="1,3,5,9,15,21; with --train-fraction 9",
        ),
    ] = None,
    train_fraction: Annotated[
        str | None,
        typer.Option("--train-fraction", help="Learning curve: fractions of the patients, such as .1,.2,.5,1."),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=50, help="--train-fraction: trainings with each fraction.")
    ] = 3,
    model: Annotated[
        Network,
        typer.Option("--model", help="baseline-cnn: sagittal images of a study; levels: views of each vertebra."),
    ] = Network.baseline,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training set, at most.")] = 40,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of split, initial weights and order.")] = 0,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> None:
    """Train and evaluate the same network with one number of views after the other: accuracy, bytes and time.

    With --train-fraction: with one fraction of the patients after the other, each a subset of the next: the learning
    curve, which says whether more patients would help.
    """
    require_extra("train")
    from cspine.pipelines.experiments.ablate import AblationSettings, ablate
    from cspine.pipelines.experiments.learning_curve import LearningCurveSettings
    from cspine.reports.evaluation.ablation_report import ablation_summary

    check_used(context, {"--train-fraction": (train_fraction is not None, ["--repeats"])})
    if train_fraction is not None:
        counts = _parse_counts(views or "9")
        if len(counts) != 1:
            raise InputError("--views: with --train-fraction, give one number of views")
        curve_settings = LearningCurveSettings(model.value, epochs, seed, workers, counts[0], repeats)
        _run_learning_curve(train, test, out, train_fraction, curve_settings, as_json=as_json)
        return
    settings = AblationSettings(model.value, epochs, seed, workers)
    with progress_bar() as progress:
        run = ablate(train, test, out, _parse_counts(views or "1,3,5,9,15,21"), settings, progress=progress)
    if as_json:
        print_json(run.summary)
        return
    say(ablation_summary(run.ablation))
    say(f"Open the report:  {run.report}")
    say_research_only()


def _run_learning_curve(
    train: Path,
    test: Path,
    out: Path,
    text: str,
    settings: "LearningCurveSettings",
    *,
    as_json: bool,
) -> None:
    """Train with each fraction, and print what the last increase brought."""
    from cspine.pipelines.experiments.learning_curve import run_learning_curve
    from cspine.reports.evaluation.learning_curve_report import learning_curve_summary

    with progress_bar() as progress:
        run = run_learning_curve(train, test, out, _parse_fractions(text), settings, progress=progress)
    if as_json:
        print_json(run.summary)
        return
    say(learning_curve_summary(run.curve))
    say(f"Open the report:  {run.report}")
    say_research_only()


def _parse_fractions(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--train-fraction {text}: takes fractions with commas between, such as .1,.2,.5,1") from error


def _parse_counts(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 4 for part in parts):
        raise InputError(f"--views {text}: takes whole numbers with commas between, such as 1,3,5,9")
    return [int(part) for part in parts]

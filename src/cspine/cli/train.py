"""``cspine train``: a network from compiled images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cspine.cli.app import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import Data, Json, three_counts
from cspine.core.errors import InputError

if TYPE_CHECKING:
    from cspine.pipelines.train import TrainingSummary

_EPILOG = "Example:  cspine train --data compiled --model levels --out runs/levels"

Model = Literal["levels", "localizer", "baseline-cnn"]


@app.command("train", epilog=_EPILOG)
@handle_errors
def train_command(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; an interrupted run is resumed.")],
    model: Annotated[
        Model, typer.Option("--model", help="The network; a localizer is trained from a folder with segmentations/.")
    ] = "levels",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Maximum number of epochs.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Examples per step and process.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Highest learning rate.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of split, initial weights and order.")] = 0,
    split: Annotated[
        Path | None,
        typer.Option("--split", help="A split of cspine split: its train part trains, its validation part validates."),
    ] = None,
    folds: Annotated[int | None, typer.Option("--folds", min=2, help="levels: number of folds of patients.")] = None,
    fold: Annotated[int | None, typer.Option("--fold", min=0, help="levels: the fold that validates.")] = None,
    all_folds: Annotated[
        bool, typer.Option("--all-folds", help="levels: a network per fold, calibrated on out-of-fold predictions.")
    ] = False,
    train_views: Annotated[
        str | None,
        typer.Option("--train-views", help="levels: sagittal, coronal and axial views drawn per step, such as 3,3,3."),
    ] = None,
    eval_views: Annotated[
        str | None,
        typer.Option("--eval-views", help="levels: views for validation and inference; all if omitted."),
    ] = None,
    auxiliary_data: Annotated[
        Path | None,
        typer.Option("--auxiliary-data", help="levels: more compiled data, for pretraining and vertebra resampling."),
    ] = None,
    init_weights: Annotated[
        str | None,
        typer.Option("--init-weights", help="levels: pretrained weights to start from, a name or an ONNX file."),
    ] = None,
    phantoms: Annotated[
        int | None,
        typer.Option("--phantoms", min=1, help="localizer: phantoms to train on beside the studies; 600."),
    ] = None,
    grad_accumulation_steps: Annotated[
        int | None,
        typer.Option("--grad-accumulation-steps", min=1, help="Steps whose gradients are accumulated."),
    ] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="32-true or bf16-mixed.")] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", min=1, help="baseline-cnn: epochs without progress before stopping.")
    ] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment", help="baseline-cnn: random shifts, rotations and scaling.")
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Train a network; the result is RUN/weights.onnx.

    levels and baseline-cnn train on a compiled data set, a localizer on the challenge's folder with segmentations.
    Patients are split, stratified by label; the validation set selects the epoch and calibrates. An interrupted run is
    resumed after its last epoch. Several GPUs: torchrun --nproc-per-node=N -m cspine train ... Needs the extra:
    pip install "cspine\[train]".
    """
    options: dict[str, Any] = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "folds": folds,
        "fold": fold, "grad_accumulation_steps": grad_accumulation_steps, "precision": precision,
        "patience": patience, "augment": augment, "auxiliary_data": auxiliary_data, "init_weights": init_weights,
        "phantoms": phantoms, "split": split,
        "train_views": None if train_views is None else three_counts("--train-views", train_views),
        "eval_views": None if eval_views is None else three_counts("--eval-views", eval_views),
    }  # fmt: skip
    chosen = {name: value for name, value in options.items() if value is not None}
    _check_folds(chosen, all_folds=all_folds)
    if all_folds:
        chosen["fold"] = None
    with progress_bar() as progress:
        from cspine.pipelines.train import train_network

        summary = train_network(model, data, out, progress=progress, **chosen)
    if summary is None:
        return  # another of torchrun's processes reports
    if as_json:
        print_json({**vars(summary), "weights": [str(path) for path in summary.weights]})
    else:
        curves = out / "fold-*" if all_folds else summary.weights[0].parent
        _show(summary, curves / "curves.png")


def _check_folds(options: dict[str, Any], *, all_folds: bool) -> None:
    """Raise InputError where options contradict each other about what validates."""
    if "split" in options and (all_folds or options.keys() & {"folds", "fold"}):
        raise InputError("--split: says what validates; leave --folds, --fold and --all-folds out")
    if all_folds and "fold" in options:
        raise InputError("--fold and --all-folds: one fold validates, or each in turn; give one of the two")


def _show(summary: "TrainingSummary", curves: Path) -> None:
    """Print the outcome of a run."""
    resumed = f" (resumed from epoch {summary.resumed_from})" if summary.resumed_from else ""
    say(f"{summary.epochs} epochs{resumed}; lowest validation loss {summary.best_loss:.4f} at {summary.best_epoch}")
    if not summary.calibrated:
        say("the validation set is too small to calibrate all probabilities")
    say(f"weights: {', '.join(str(path) for path in summary.weights)}")
    say(f"curves: {curves}")
    say_research_only()

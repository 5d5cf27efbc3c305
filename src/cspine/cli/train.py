"""``cspine train``: a network from compiled images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cspine.cli import train_options as options
from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import Data, Json, three_counts
from cspine.core.errors import InputError
from cspine.core.extras import require_extra

if TYPE_CHECKING:
    from cspine.training.summary import TrainingSummary

_EPILOG = "Example:  cspine train --data compiled --model levels --out runs/levels"


@app.command("train", epilog=_EPILOG)
@handle_errors
def train_command(
    data: Data,
    out: options.Out,
    model: options.ModelOption = "levels",
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = 0,
    split: options.Split = None,
    folds: options.Folds = None,
    fold: options.Fold = None,
    all_folds: options.AllFolds = False,
    train_views: options.TrainViews = None,
    eval_views: options.EvalViews = None,
    auxiliary_data: options.AuxiliaryData = None,
    auxiliary_fraction: options.AuxiliaryFraction = None,
    init_weights: options.InitWeights = None,
    phantoms: options.Phantoms = None,
    grad_accumulation_steps: options.GradAccumulationSteps = None,
    precision: options.Precision = None,
    patience: options.Patience = None,
    augment: options.Augment = None,
    as_json: Json = False,
) -> None:
    r"""Train a network; the result is RUN/weights.onnx.

    levels and baseline-cnn train on a compiled data set, a localizer on the challenge's folder with segmentations.
    Patients are split, stratified by label; the validation set selects the epoch and calibrates. An interrupted run is
    resumed after its last epoch. Several GPUs: torchrun --nproc-per-node=N -m cspine train ... Needs the extra:
    pip install "cspine\[train]".
    """
    require_extra("train")
    settings: dict[str, Any] = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "folds": folds,
        "fold": fold, "grad_accumulation_steps": grad_accumulation_steps, "precision": precision,
        "patience": patience, "augment": augment, "auxiliary_data": auxiliary_data, "init_weights": init_weights,
        "phantoms": phantoms, "split": split, "auxiliary_fraction": auxiliary_fraction,
        "train_views": None if train_views is None else three_counts("--train-views", train_views),
        "eval_views": None if eval_views is None else three_counts("--eval-views", eval_views),
    }  # fmt: skip
    chosen = {name: value for name, value in settings.items() if value is not None}
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

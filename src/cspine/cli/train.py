"""``cspine train``: a network from compiled images."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cspine.cli.app import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.extras import training_extra
from cspine.cli.options import Data, Json, three_counts
from cspine.core.errors import InputError

_EPILOG = "Example:  cspine train --data compiled --model levels --out runs/levels"

Model = Literal["levels", "localizer", "baseline-cnn"]


@app.command("train", epilog=_EPILOG)
@handle_errors
def train_command(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; resumed if begun before.")],
    model: Annotated[
        Model, typer.Option("--model", help="Which network; a localizer learns from a folder with segmentations/.")
    ] = "levels",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the data, at most.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Examples per step and process.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="The optimiser's first or highest step size.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides split, first weights and order.")] = 0,
    split: Annotated[
        Path | None,
        typer.Option(
            "--split", help="A split of cspine split: its train is learnt from, its validation part held out."
        ),
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", min=2, help="Of levels: parts that patients fall into.")
    ] = None,
    fold: Annotated[int | None, typer.Option("--fold", min=0, help="Of levels: the part that is held out.")] = None,
    all_folds: Annotated[
        bool, typer.Option("--all-folds", help="Of levels: a network for each part held out, calibrated together.")
    ] = False,
    train_views: Annotated[
        str | None,
        typer.Option(
            "--train-views", help="Of levels: sagittal, coronal and axial views learnt from at a time: 3,3,3."
        ),
    ] = None,
    eval_views: Annotated[
        str | None,
        typer.Option("--eval-views", help="Of levels: views looked at afterwards, such as 3,3,3; all that there are."),
    ] = None,
    auxiliary_data: Annotated[
        Path | None,
        typer.Option(
            "--auxiliary-data", help="Of levels: more compiled data that single vertebrae are first learnt from."
        ),
    ] = None,
    init_weights: Annotated[
        str | None,
        typer.Option(
            "--init-weights", help="Of levels: weights to start from, such as levels, those that come with cspine."
        ),
    ] = None,
    phantoms: Annotated[
        int | None,
        typer.Option("--phantoms", min=1, help="Of a localizer: phantoms to learn from beside the studies; 600."),
    ] = None,
    grad_accumulation_steps: Annotated[
        int | None,
        typer.Option(
            "--grad-accumulation-steps", min=1, help="Steps whose gradients are added up; not of the baseline."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="32-true or bf16-mixed; not of the baseline.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", min=1, help="Of the baseline: epochs without progress before stopping.")
    ] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment", help="Of the baseline: shift, turn and rescale images at random.")
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Train a network; ends in RUN/weights.onnx.

    levels and baseline-cnn learn from a compiled data set, a localizer from the challenge's folder with segmentations.
    Patients are split, stratified by label; the held-out ones choose the epoch and calibrate. An interrupted run goes
    on at its last epoch. On several GPUs: torchrun --nproc-per-node=N -m cspine train ... Needs the extra:
    pip install "cspine\[train]".
    """
    given = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "folds": folds, "fold": fold,
        "grad_accumulation_steps": grad_accumulation_steps, "precision": precision, "patience": patience, "augment": augment,
        "auxiliary_data": auxiliary_data, "init_weights": init_weights, "phantoms": phantoms, "split": split,
        "train_views": None if train_views is None else three_counts("--train-views", train_views),
        "eval_views": None if eval_views is None else three_counts("--eval-views", eval_views),
    }  # fmt: skip
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if split is not None and (folds, fold, all_folds) != (None, None, False):
        raise InputError("--split: says what is held out; leave --folds, --fold and --all-folds out")
    if all_folds:
        if fold is not None:
            raise InputError("--fold and --all-folds: one part is held out, or each in turn; give one of the two")
        chosen["fold"] = None
    with training_extra(), progress_bar() as progress:
        from cspine.pipelines.train import RUNS

        summary = RUNS[model](data, out, chosen, progress)
    if summary is None:
        return  # another of torchrun's processes tells
    if as_json:
        print_json(summary)
        return
    resumed = f" (went on from epoch {summary['resumed_from']})" if summary["resumed_from"] else ""
    say(
        f"{summary['epochs']} epochs{resumed}; best held-out loss {summary['best_loss']:.4f} at {summary['best_epoch']}"
    )
    if not summary.get("calibrated", True):
        say("too few patients were held out to calibrate all probabilities")
    say(f"weights: {', '.join(summary['weights'])}")
    say(f"curves: {Path(summary['weights'][0]).parent / 'curves.png' if not all_folds else out / 'fold-*/curves.png'}")
    say_research_only()

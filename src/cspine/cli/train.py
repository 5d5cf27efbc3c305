"""``cspine train``: a network from compiled images."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.app import app, print_json, progress_bar, say, say_research_only, sentences
from cspine.cli.options import Data, Json
from cspine.errors import InputError, MissingExtraError

_EPILOG = "Example:  cspine train --data compiled --model baseline-cnn --out runs/baseline"


@app.command("train", epilog=_EPILOG)
@sentences
def train_command(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; resumed if begun before.")],
    model: Annotated[str, typer.Option("--model", help="Which network: baseline-cnn.")] = "baseline-cnn",
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Most passes over the images.")] = 40,
    patience: Annotated[int, typer.Option("--patience", min=1, help="Epochs without progress before stopping.")] = 8,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Images per step.")] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Adam's first step size.")] = 1e-3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides split, first weights and order.")] = 0,
    augment: Annotated[bool, typer.Option("--augment", help="Shift, turn and rescale images at random.")] = False,
    as_json: Json = False,
) -> None:
    """Train a network on a compiled data set; ends in RUN/weights.onnx.

    Patients are split once, stratified by label; training stops early on the held-out ones. An interrupted run goes
    on at its last epoch. Needs the extra: pip install "cspine[train]".
    """
    from pydantic import ValidationError

    try:
        from cspine.learn.loop import train
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f'training needs {error.name}, which is not installed; run: pip install "cspine[train]"'
        ) from error
    from cspine.learn.settings import TrainSettings
    from cspine.reformat.store import CompiledStore

    try:
        settings = TrainSettings.model_validate(
            {
                "model": model,
                "epochs": epochs,
                "patience": patience,
                "batch": batch,
                "learning_rate": learning_rate,
                "seed": seed,
                "augment": augment,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from error
    with progress_bar() as progress:
        summary = train(CompiledStore.open(data), out, settings, progress=progress)
    if as_json:
        print_json({**vars(summary), "weights": str(summary.weights)})
        return
    resumed = f" (went on from epoch {summary.resumed_from})" if summary.resumed_from else ""
    say(f"{summary.epochs} epochs{resumed}; best held-out loss {summary.best_loss:.4f} at epoch {summary.best_epoch}")
    say(f"weights: {summary.weights}, curves: {out / 'curves.png'}")
    say_research_only()

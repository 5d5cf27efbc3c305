"""``cspine train``: a network from compiled images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cspine.cli.app import app, print_json, progress_bar, say, say_research_only, sentences
from cspine.cli.options import Data, Json, three_counts
from cspine.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from cspine.progress import Progress

_EPILOG = "Example:  cspine train --data compiled --model levels --out runs/levels"

_PHANTOM_SEED = 7_000

Model = Literal["levels", "localizer", "baseline-cnn"]


@app.command("train", epilog=_EPILOG)
@sentences
def train_command(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; resumed if begun before.")],
    model: Annotated[
        Model, typer.Option("--model", help="Which network; a localizer learns from a folder with segmentations/.")
    ] = "levels",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the data, at most.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=2, help="Examples per step and process.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="The optimiser's first or highest step size.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides split, first weights and order.")] = 0,
    folds: Annotated[
        int | None, typer.Option("--folds", min=2, help="Of levels: parts that patients fall into.")
    ] = None,
    fold: Annotated[int | None, typer.Option("--fold", min=0, help="Of levels: the part that is held out.")] = None,
    all_folds: Annotated[
        bool, typer.Option("--all-folds", help="Of levels: a network for each part held out, calibrated together.")
    ] = False,
    views: Annotated[
        str | None, typer.Option("--views", help="Of levels: sagittal, coronal and axial views, such as 3,3,3.")
    ] = None,
    phantoms: Annotated[
        int,
        typer.Option("--phantoms", min=0, help="Of a localizer: phantoms to learn from beside the studies."),
    ] = 600,
    accumulate: Annotated[
        int | None, typer.Option("--accumulate", min=1, help="Steps whose gradients are added up; not of the baseline.")
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
    """Train a network; ends in RUN/weights.onnx.

    levels and baseline-cnn learn from a compiled data set, a localizer from the challenge's folder with segmentations.
    Patients are split, stratified by label; the held-out ones choose the epoch and calibrate. An interrupted run goes
    on at its last epoch. On several GPUs: torchrun --nproc-per-node=N -m cspine train ... Needs the extra:
    pip install "cspine[train]".
    """
    given: dict[str, Any] = {
        "epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed, "folds": folds, "fold": fold,
        "accumulate": accumulate, "precision": precision, "patience": patience, "augment": augment,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    if all_folds:
        if fold is not None:
            raise InputError("--fold and --all-folds: one part is held out, or each in turn; give one of the two")
        given["fold"] = None
    if views is not None:
        given["views"] = three_counts("--views", views)
    try:
        run = {"levels": _levels, "localizer": _localizer, "baseline-cnn": _baseline}[model]
        with progress_bar() as progress:
            summary = run(data, out, given | ({"phantoms": phantoms} if model == "localizer" else {}), progress)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f'training needs {error.name}, which is not installed; run: pip install "cspine[train]"'
        ) from error
    if summary is None:
        return  # another of torchrun's processes tells
    if as_json:
        print_json(summary)
        return
    resumed = f" (went on from epoch {summary['resumed_from']})" if summary["resumed_from"] else ""
    say(
        f"{summary['epochs']} epochs{resumed}; best held-out loss {summary['best_loss']:.4f} at {summary['best_epoch']}"
    )
    say(f"weights: {', '.join(summary['weights'])}")
    say(f"curves: {Path(summary['weights'][0]).parent / 'curves.png' if not all_folds else out / 'fold-*/curves.png'}")
    say_research_only()


def _levels(data: Path, out: Path, given: dict[str, Any], progress: "Progress") -> dict[str, Any] | None:
    from cspine.learn.train_levels import LevelTrainSettings, train_levels
    from cspine.reformat.store import CompiledStore

    summary = train_levels(CompiledStore.open(data), out, _settings(LevelTrainSettings, given), progress=progress)
    return {**vars(summary), "weights": [str(path) for path in summary.weights]} if summary else None


def _localizer(data: Path, out: Path, given: dict[str, Any], progress: "Progress") -> dict[str, Any] | None:
    from cspine.imaging.layout import PHANTOM_MARKER
    from cspine.learn.coarse_set import write_phantom_set, write_segmented_set
    from cspine.learn.fit import TUNE_LOSS, FitSettings, open_fabric
    from cspine.learn.train_localizer import train_localizer
    from cspine.scale import default_workers

    phantoms = given.pop("phantoms")
    settings, workers = _settings(FitSettings, given), default_workers()
    if not phantoms:
        raise InputError("--phantoms 0: segmentations do not tell how vertebrae are turned, phantoms do; give some")
    with open_fabric(settings).rank_zero_first():  # of torchrun's processes one makes what all learn from
        files = write_segmented_set(out / "coarse", data, workers=workers, progress=progress)
        seed = settings.seed + _PHANTOM_SEED
        drawn = write_phantom_set(out / "phantoms", studies=phantoms, seed=seed, workers=workers, progress=progress)
    phantom = (data / PHANTOM_MARKER).is_file()
    fitted = train_localizer([*files, *drawn], out / "run", settings, phantom=phantom, progress=progress)
    if fitted is None:
        return None
    return {
        "epochs": len(fitted.curve),
        "best_epoch": fitted.best_epoch,
        "best_loss": min(row[TUNE_LOSS] for row in fitted.curve),
        "resumed_from": fitted.resumed_from,
        "weights": [str(out / "run" / "weights.onnx")],
    }


def _baseline(data: Path, out: Path, given: dict[str, Any], progress: "Progress") -> dict[str, Any]:
    from cspine.learn.loop import train
    from cspine.learn.settings import TrainSettings
    from cspine.reformat.store import CompiledStore

    summary = train(CompiledStore.open(data), out, _settings(TrainSettings, given), progress=progress)
    return {**vars(summary), "weights": [str(summary.weights)]}


def _settings(kind: type[Any], given: dict[str, Any]) -> Any:  # noqa: ANN401 - a Settings of the kind asked for
    from pydantic import ValidationError

    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        what = "is no option of this network" if first["type"] == "extra_forbidden" else first["msg"]
        raise InputError(f"--{name}: {what}; see cspine train --help") from error

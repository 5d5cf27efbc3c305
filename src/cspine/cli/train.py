"""``cspine train``: a network from compiled images."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cspine.cli import train_options as options
from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import Data, Json, three_counts
from cspine.core.errors import InputError, PreemptedError
from cspine.core.extras import require_extra
from cspine.core.settings import read_toml

if TYPE_CHECKING:
    from cspine.training.summary import TrainingSummary

_EPILOG = "Example:  cspine train --data compiled --model levels --out runs/levels"


@app.command("train", epilog=_EPILOG)
@handle_errors
def train_command(
    data: Data,
    out: options.Out,
    model: options.ModelOption = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = None,
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
    loader_workers: options.LoaderWorkers = None,
    settings_file: options.SettingsFile = None,
    requeue: options.Requeue = False,
    report_hypertune: options.HyperTune = False,
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
    given: dict[str, Any] = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "folds": folds,
        "grad_accumulation_steps": grad_accumulation_steps, "precision": precision, "workers": loader_workers,
        "patience": patience, "augment": augment, "auxiliary_data": auxiliary_data, "init_weights": init_weights,
        "phantoms": phantoms, "split": split, "auxiliary_fraction": auxiliary_fraction,
        "train_views": None if train_views is None else three_counts("--train-views", train_views),
        "eval_views": None if eval_views is None else three_counts("--eval-views", eval_views),
    }  # fmt: skip
    chosen = read_toml(settings_file) if settings_file else {}
    network = model or chosen.pop("model", "levels")
    chosen |= {name: value for name, value in given.items() if value is not None}
    chosen |= _fold_options(fold, chosen, all_folds=all_folds)
    with progress_bar() as progress, _hypertune(report_hypertune):
        from cspine.pipelines.train import train_network

        try:
            summary = train_network(network, data, out, progress=progress, **chosen)
        except PreemptedError:
            if requeue:
                from cspine.training.preemption import requeue_job

                say(f"job {requeue_job()} is back in the queue")
            raise
    if summary is None:
        return  # another of torchrun's processes reports
    if as_json:
        print_json({**vars(summary), "weights": [str(path) for path in summary.weights]})
    else:
        curves = out / "fold-*" if all_folds else summary.weights[0].parent
        _show(summary, curves / "curves.png")


def _fold_options(fold: str | None, options: dict[str, Any], *, all_folds: bool) -> dict[str, Any]:
    """Return the settings of ``--fold``, ``--folds`` and ``--all-folds``.

    Raises
    ------
    InputError
        Options contradict each other about what validates, or the fold is no number.
    """
    if "split" in options and (all_folds or fold is not None or "folds" in options):
        raise InputError("--split: says what validates; leave --folds, --fold and --all-folds out")
    if fold is None:
        return {"fold": None} if all_folds else {}
    number, slash, count = fold.partition("/")
    if not number.isdecimal() or (slash and not count.isdecimal()):
        raise InputError(f"--fold {fold}: takes a number from 0, such as 2, or with the number of folds, such as 2/5")
    if all_folds and not slash:
        raise InputError(
            "--fold and --all-folds: one fold validates, or each in turn; give one of the two, or the job's part of "
            "all folds as I/K"
        )
    folds = {"folds": int(count)} if slash else {}
    return {"fold": None, "only_fold": int(number), **folds} if all_folds else {"fold": int(number), **folds}


def _hypertune(is_wanted: bool) -> AbstractContextManager[None]:
    """Return a context in which the validation loss is reported to Vertex AI, where it is wanted."""
    if not is_wanted:
        return nullcontext()
    from cspine.training.hypertune import report_to_hypertune

    return report_to_hypertune()


def _show(summary: "TrainingSummary", curves: Path) -> None:
    """Print the outcome of a run."""
    resumed = f" (resumed from epoch {summary.resumed_from})" if summary.resumed_from else ""
    say(f"{summary.epochs} epochs{resumed}; lowest validation loss {summary.best_loss:.4f} at {summary.best_epoch}")
    if not summary.calibrated:
        say("the validation set is too small to calibrate all probabilities")
    if summary.weights:
        say(f"weights: {', '.join(str(path) for path in summary.weights)}")
    else:
        say("the same command without --fold calibrates and exports all folds once they are trained")
    say(f"curves: {curves}")
    say_research_only()

"""Options of ``cspine train``."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.core.networks import NetworkName

Out = Annotated[Path, typer.Option("--out", help="Folder of the run; an interrupted run is resumed.")]
ModelOption = Annotated[
    NetworkName | None,
    typer.Option(
        "--model", help="The network; a localizer is trained from a folder with segmentations/.", show_default="levels"
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Maximum number of epochs.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", min=1, help="Examples per step and process.")]
LearningRate = Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Seed of split, initial weights and order.", show_default="0"),
]
Split = Annotated[
    Path | None,
    typer.Option("--split", help="A split of cspine split: its train part trains, its validation part validates."),
]
Folds = Annotated[int | None, typer.Option("--folds", min=2, help="levels: number of folds of patients.")]
Fold = Annotated[
    str | None,
    typer.Option(
        "--fold",
        help="levels: the fold that validates, from 0: 2, or 2/5 of five; with --all-folds, the job's own.",
    ),
]
AllFolds = Annotated[
    bool, typer.Option("--all-folds", help="levels: a network per fold, calibrated on out-of-fold predictions.")
]
TrainViews = Annotated[
    str | None,
    typer.Option("--train-views", help="levels: sagittal, coronal and axial views drawn per step, such as 3,3,3."),
]
EvalViews = Annotated[
    str | None,
    typer.Option("--eval-views", help="levels: views for validation and inference; all if omitted."),
]
AuxiliaryData = Annotated[
    list[Path] | None,
    typer.Option(
        "--auxiliary-data", help="levels: more compiled data, for pretraining and vertebra resampling; repeatable."
    ),
]
AuxiliaryFraction = Annotated[
    float | None,
    typer.Option("--auxiliary-fraction", help="levels: fraction of auxiliary cases among complete ones; 0."),
]
InitWeights = Annotated[
    str | None,
    typer.Option("--init-weights", help="levels: pretrained weights to start from, a name or an ONNX file."),
]
Phantoms = Annotated[
    int | None,
    typer.Option("--phantoms", min=1, help="localizer: phantoms to train on beside the studies; 600."),
]
GradAccumulationSteps = Annotated[
    int | None,
    typer.Option("--grad-accumulation-steps", min=1, help="Steps whose gradients are accumulated."),
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="32-true, bf16-mixed (CPU, newer GPUs) or 16-mixed (any CUDA GPU)."),
]
LoaderWorkers = Annotated[
    int | None, typer.Option("--loader-workers", min=0, help="Processes that load examples, per training process.")
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        dir_okay=False,
        help="Settings in TOML, such as best.toml of cspine tune; options take precedence.",
    ),
]
Requeue = Annotated[
    bool, typer.Option("--requeue", help="Slurm: requeue the job when a signal announces that it is stopped.")
]
HyperTune = Annotated[
    bool,
    typer.Option(
        "--report-hypertune", help="Report the validation loss to Vertex AI's hyper-parameter tuning after each epoch."
    ),
]
Patience = Annotated[
    int | None, typer.Option("--patience", min=1, help="baseline-cnn: epochs without progress before stopping.")
]
Augment = Annotated[bool | None, typer.Option("--augment", help="baseline-cnn: random shifts, rotations and scaling.")]

"""Train the weights of the localizer and of the level network that ship with the package, from seeds.

All training data are phantoms: coarse ones for the localizer; then complete studies, whose vertebrae the finished
localizer finds, for the level network. The settings of each run lie in ``recipes``, beside its learning curves and log.

Run: ``make weights`` or ``python -m scripts.make_weights --work runs/weights``; an interrupted run resumes.
"""

import argparse
import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from benchmarks.progress import log_progress

import cspine
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.files import write_json, write_text
from cspine.core.processors import default_workers
from cspine.phantom import PhantomSettings
from cspine.phantom.settings import GENERATOR

if TYPE_CHECKING:
    from cspine.core.progress import Progress
    from cspine.datasets.compiled import CompiledDataset
    from cspine.localization.compiler import Compiler

SHIPPED = Path(cspine.__file__).parent / "models" / "embedded"
RECIPES = Path(__file__).parent / "recipes"
WEIGHTS_FILE = "weights.onnx"


@dataclass(frozen=True)
class PhantomSample:
    """Phantoms to train on.

    Attributes
    ----------
    studies : int
        Number of phantom studies.
    seed : int
        Seed of the first study; the others follow from it.
    """

    studies: int
    seed: int


COARSE = PhantomSample(studies=1200, seed=1001)
LOCALIZER_SETTINGS: dict[str, Any] = {"epochs": 7, "batch_size": 4, "seed": 1}

CASE_SETTINGS: dict[str, Any] = {
    "prevalence": 0.75,
    "morphometry_sd_factor": 1.25,
    "posture_sd_factor": 1.3,
    "matrix": 320,
}
"""Cases of the level network: more are fractured than in the challenge, which calibration corrects; anatomy varies more
than in people; 320 pixels resolve what the scanners' kernels pass, at half the time of 512."""

AUXILIARY_SETTINGS: dict[str, Any] = {**CASE_SETTINGS, "prevalence": 1.0, "p_additional_fracture": 0.5}
"""Cases that only contribute single vertebrae, three in five of them fractured; none is in a validation set."""


@dataclass(frozen=True)
class TrainingStage:
    """One training of the level network, on phantoms that no earlier stage has used.

    Attributes
    ----------
    cases : PhantomSample
        Drawn with `CASE_SETTINGS`; a fifth of them is the validation set, which also serves calibration.
    auxiliary : PhantomSample
        Phantoms for pretraining, drawn with `AUXILIARY_SETTINGS`.
    settings : dict
        Fields of `LevelTrainSettings` that differ from their defaults.
    """

    cases: PhantomSample
    auxiliary: PhantomSample
    settings: dict[str, Any]


STAGES = (
    TrainingStage(
        PhantomSample(studies=500, seed=2001),
        PhantomSample(studies=600, seed=2002),
        {"batch_size": 1, "workers": 0, "seed": 1, "pretrain_epochs": 8, "epochs": 3},
    ),
    TrainingStage(
        PhantomSample(studies=500, seed=2003),
        PhantomSample(studies=700, seed=2004),
        {"batch_size": 1, "workers": 0, "seed": 2, "pretrain_epochs": 5, "epochs": 6, "learning_rate": 1e-3},
    ),
    TrainingStage(
        PhantomSample(studies=700, seed=2005),
        PhantomSample(studies=1000, seed=2006),
        {
            "batch_size": 1,
            "workers": 0,
            "seed": 3,
            "pretrain_epochs": 4,
            "epochs": 7,
            "resampled_epoch_fraction": 0.57,
            "learning_rate": 1e-3,
        },
    ),
)
"""Each stage starts from the weights of the one before and is calibrated on its own validation set."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/weights"), help="folder for data and runs (3 GB)")
    parser.add_argument("--only", choices=["localizer", "levels"], help="train one of the networks")
    options = parser.parse_args()
    if options.only != "levels":
        make_localizer(options.work)
    if options.only != "localizer":
        make_levels(options.work)
    write_checksums()


def make_localizer(work: Path) -> None:
    """Train the localizer and put its weights into the package.

    Parameters
    ----------
    work : Path
        Gets the phantoms (``coarse``), the run (``localizer``) and the log.
    """
    from cspine.phantom.body.settings import BODY_DOMAINS
    from cspine.training.localizer.examples import write_phantom_set
    from cspine.training.localizer.train import LocalizerSamples, train_localizer
    from cspine.training.settings import TrainerSettings

    progress = log_progress(work / "localizer.log")
    coarse, fine = (
        write_phantom_set(
            work / ("fine" if is_fine else "coarse"),
            **asdict(COARSE),
            settings=BODY_DOMAINS["source"],
            is_fine=is_fine,
            workers=default_workers(),
            progress=progress,
        )
        for is_fine in (False, True)
    )
    run, settings = work / "localizer", TrainerSettings(**LOCALIZER_SETTINGS)
    train_localizer(LocalizerSamples(coarse, fine, is_phantom=True), run, settings, progress=progress)
    recipe = {
        "data": asdict(COARSE),
        "fit": settings.model_dump(mode="json"),
        "seconds_of_training": save_curves(run, "localizer"),
    }
    ship(run, "localizer", recipe)


def make_levels(work: Path) -> None:
    """Train the level network in its stages and put the last stage's weights into the package.

    Parameters
    ----------
    work : Path
        Gets the phantoms (``levels-data-*``, ``levels-auxiliary-*``), the runs (``levels-1`` and so on) and the log.

    Raises
    ------
    SystemExit
        A run in `work` was trained with other settings or another localizer.
    """
    from cspine.localization.compiler import Compiler
    from cspine.localization.localizer import Localizer
    from cspine.models.metadata import LevelsMetadata
    from cspine.models.weights import load_weights
    from cspine.training.levels.settings import LevelTrainSettings
    from cspine.training.levels.train import train_levels
    from cspine.views.settings import CompileSettings

    progress = log_progress(work / "levels.log")
    localizer = Localizer.load()
    compiler = Compiler(CompileSettings(), localizer)
    initial_weights: Path | None = None
    recipes = []
    for number, stage in enumerate(STAGES, start=1):
        run, settings = work / f"levels-{number}", LevelTrainSettings(**stage.settings)
        if not (run / WEIGHTS_FILE).is_file():
            auxiliary = write_cases(work / "levels-auxiliary", stage.auxiliary, AUXILIARY_SETTINGS, compiler, progress)
            cases = write_cases(work / "levels-data", stage.cases, CASE_SETTINGS, compiler, progress)
            train_levels(
                cases, run, settings, auxiliary_data=auxiliary, init_weights=initial_weights, progress=progress
            )
        initial_weights = run / WEIGHTS_FILE
        metadata, fit = load_weights(LevelsMetadata, initial_weights).metadata, settings.model_dump(mode="json")
        if (metadata.training, metadata.localizer_sha256) != (fit, localizer.weights.sha256):
            raise SystemExit(f"{run}: was trained with other settings; delete it, or name another --work")
        data = {
            **asdict(stage.cases),
            **CASE_SETTINGS,
            "auxiliary": {**asdict(stage.auxiliary), **AUXILIARY_SETTINGS},
        }
        recipes.append({"data": data, "fit": fit, "seconds_of_training": save_curves(run, run.name)})
    ship(run, "levels", {"stages": recipes, "localizer_sha256": localizer.weights.sha256})


def write_cases(
    folder: Path, sample: PhantomSample, settings: dict[str, Any], compiler: "Compiler", progress: "Progress"
) -> "CompiledDataset":
    """Draw and compile phantoms; those that are there already stay.

    Parameters
    ----------
    folder : Path
        The data set goes to ``FOLDER-SEED``.
    sample : PhantomSample
        Number of studies and their seed.
    settings : dict
        Fields of `PhantomSettings` that differ from their defaults.
    compiler : Compiler
        Finds the vertebrae and cuts their views.
    progress : Progress
        Told the number of finished studies.
    """
    from cspine.training.levels.phantom_dataset import write_phantom_dataset

    return write_phantom_dataset(
        folder.with_name(f"{folder.name}-{sample.seed}"),
        compiler,
        **asdict(sample),
        settings=PhantomSettings(**settings),
        workers=default_workers(),
        progress=progress,
    )


def ship(run: Path, name: str, recipe: dict[str, Any]) -> None:
    """Copy a run's weights into the package, and its recipe and log into `RECIPES`.

    Parameters
    ----------
    run : Path
        Folder of the run, beside its log.
    name : str
        Name of the network.
    recipe : dict
        Data and settings of the training; versions and the hash of the weights are added.
    """
    SHIPPED.mkdir(exist_ok=True)
    shutil.copyfile(run / WEIGHTS_FILE, SHIPPED / f"{name}.onnx")
    shutil.copyfile(run.parent / f"{name}.log", RECIPES / f"{name}.log")
    provenance = {
        "statement": RESEARCH_USE_ONLY,
        **recipe,
        "generator": GENERATOR,
        "software": cspine.__version__,
        "sha256": _sha256(SHIPPED / f"{name}.onnx"),
    }
    write_json(RECIPES / f"{name}.json", provenance)


def save_curves(run: Path, name: str) -> int:
    """Copy a run's learning curves into `RECIPES`; return its training time in seconds, pretraining included."""
    from cspine.training.levels.train import PRETRAINING_FOLDER

    RECIPES.mkdir(exist_ok=True)
    for file in ("curves.csv", "curves.png"):
        shutil.copyfile(run / file, RECIPES / f"{name}-{file}")
    seconds = float(pd.read_csv(run / "curves.csv")["seconds"].sum())
    pretraining = run / PRETRAINING_FOLDER / "curves.csv"
    if pretraining.is_file():
        shutil.copyfile(pretraining, RECIPES / f"{name}-pretraining-curves.csv")
        seconds += float(pd.read_csv(pretraining)["seconds"].sum())
    return round(seconds)


def write_checksums() -> None:
    """Write the SHA-256 of all shipped weights, in the format of ``sha256sum``."""
    sums = [f"{_sha256(path)}  {path.name}" for path in sorted(SHIPPED.glob("*.onnx"))]
    write_text(SHIPPED / "SHA256SUMS", "\n".join(sums) + "\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()

"""Train the weights of the localizer and of the level network that ship with the package, from seeds.

The localizer is trained on body phantoms and real scans; the level network on complete phantom studies, whose vertebrae
the finished localizer finds, and in its last stage on virtual fractures in real scans, too. The settings of each run
lie in ``recipes``, beside its learning curves and log.

Run: ``make weights`` or ``python -m scripts.make_weights --work runs/weights --real DIR``; an interrupted run resumes.
``--real`` is the folder of real CT that ``CSPINE_REAL_DATA`` names elsewhere; both networks are trained on it.
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
from cspine.phantom.body.settings import BODY_GENERATOR
from cspine.phantom.settings import GENERATOR

if TYPE_CHECKING:
    from cspine.core.progress import Progress
    from cspine.datasets.compiled import CompiledDataset
    from cspine.localization.compiler import Compiler
    from cspine.localization.localizer import Localizer

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
    views : int
        Views that are compiled of each vertebra in each of the three orientations.
    """

    cases: PhantomSample
    auxiliary: PhantomSample
    settings: dict[str, Any]
    views: int = 5


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
    TrainingStage(
        PhantomSample(studies=420, seed=2015),
        PhantomSample(studies=260, seed=2016),
        {
            "batch_size": 2,
            "workers": 0,
            "seed": 5,
            "pretrain_epochs": 5,
            "epochs": 13,
            "resampled_epoch_fraction": 0.5,
            "learning_rate": 1e-3,
            "eval_views": [3, 3, 3],
        },
        views=9,
    ),
)
"""Each stage starts from the weights of the one before and is calibrated on its own validation set."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/weights"), help="folder for data and runs (3 GB)")
    parser.add_argument("--only", choices=["localizer", "levels"], help="train one of the networks")
    parser.add_argument("--real", type=Path, required=True, help="folder of real CT")
    options = parser.parse_args()
    if options.only != "levels":
        make_localizer(options.work, options.real)
    if options.only != "localizer":
        make_levels(options.work, options.real)
    write_checksums()


def make_localizer(work: Path, real: Path) -> None:
    """Train the networks of the localizer in their stages and put the weights into the package.

    Parameters
    ----------
    work : Path
        Gets the phantoms (``localizer/coarse-*``, ``localizer/fine-*``), the samples of real scans, the runs of the
        stages and the log.
    real : Path
        Folder of real CT.
    """
    from cspine.training.localizer.examples import write_phantom_set
    from cspine.training.localizer.networks import NETWORKS
    from scripts.export_localizer import export_networks, last_stage
    from scripts.localizer_stages import COARSE, NETWORK_FILE, NEVER_TRAINED_ON, PHANTOMS, train_stage
    from scripts.localizer_stages import STAGES as LOCALIZER_STAGES
    from scripts.make_real_samples import write_real_samples
    from scripts.make_templates import write_templates

    progress, data = log_progress(work / "localizer.log"), work / "localizer"
    for sample in PHANTOMS:
        write_phantom_set(
            data / sample.folder,
            studies=sample.studies,
            seed=sample.seed,
            settings=sample.settings,
            is_fine=sample.is_fine,
            workers=default_workers(),
            progress=progress,
        )
    templates, weights = data / "templates.json", data / WEIGHTS_FILE
    write_templates(sorted((data / COARSE[0].folder).glob("*.npz")), templates)
    write_real_samples(real, templates, data / "real")
    for name in LOCALIZER_STAGES:
        train_stage(name, data, data, real=data / "real", without=NEVER_TRAINED_ON, progress=progress)
    networks = {network: data / last_stage(network) / NETWORK_FILE for network in NETWORKS}
    export_networks(networks, templates, None, weights)
    recipe = {
        "stages": {name: asdict(stage) for name, stage in LOCALIZER_STAGES.items()},
        "seconds_of_training": sum(save_curves(data / name, f"localizer-{name}") for name in LOCALIZER_STAGES),
    }
    ship(weights, work / "localizer.log", "localizer", recipe | {"generator": BODY_GENERATOR})


def make_levels(work: Path, real: Path) -> None:
    """Train the level network in its stages and put the last stage's weights into the package.

    Parameters
    ----------
    work : Path
        Gets the phantoms (``levels-data-*``, ``levels-auxiliary-*``), the runs (``levels-1`` and so on) and the log,
        and for the last stage the folder ``folds``.
    real : Path
        Folder of real CT.

    Raises
    ------
    SystemExit
        A run in `work` was trained with other settings or another localizer.
    """
    from cspine.localization.localizer import Localizer
    from cspine.models.metadata import LevelsMetadata
    from cspine.models.weights import load_weights
    from cspine.training.levels.settings import LevelTrainSettings
    from cspine.training.levels.train import train_levels

    progress = log_progress(work / "levels.log")
    localizer = Localizer.load()
    recipes: list[dict[str, Any]] = []
    weights: dict[int, Path] = {}
    for number, stage in enumerate(STAGES, start=1):
        run, settings = work / f"levels-{number}", LevelTrainSettings(**stage.settings)
        if not (run / WEIGHTS_FILE).is_file():
            compiler = level_compiler(localizer, stage.views)
            auxiliary = write_cases(work / "levels-auxiliary", stage.auxiliary, AUXILIARY_SETTINGS, compiler, progress)
            cases = write_cases(work / "levels-data", stage.cases, CASE_SETTINGS, compiler, progress)
            train_levels(
                cases, run, settings, auxiliary_data=[auxiliary], init_weights=weights.get(number - 1),
                progress=progress,
            )  # fmt: skip
        weights[number] = run / WEIGHTS_FILE
        metadata, fit = load_weights(LevelsMetadata, weights[number]).metadata, settings.model_dump(mode="json")
        if (metadata.training, metadata.localizer_sha256) != (fit, localizer.weights.sha256):
            raise SystemExit(f"{run}: was trained with other settings; delete it, or name another --work")
        data = {
            **asdict(stage.cases),
            **CASE_SETTINGS,
            "views": [stage.views] * 3,
            "auxiliary": {**asdict(stage.auxiliary), **AUXILIARY_SETTINGS},
        }
        seconds = save_curves(run, run.name)
        versions = {"generator": GENERATOR, "localizer_sha256": localizer.weights.sha256}
        recipes.append({"data": data, "fit": fit, "seconds_of_training": seconds, **versions})
    shutil.copyfile(work / "levels.log", RECIPES / "levels.log")
    ship_folds(work, real, weights, {"stages": recipes})


def ship_folds(work: Path, real: Path, stages: dict[int, Path], recipe: dict[str, Any]) -> None:
    """Train the last stage of the level network from several earlier ones, and ship the calibrated mean.

    Parameters
    ----------
    work : Path
        Its folder ``folds`` gets the data, the runs and their log.
    real : Path
        Folder of real CT.
    stages : dict of int to Path
        Weights of the stages before, by number.
    recipe : dict
        Recipe of the stages before.
    """
    from cspine.localization.localizer import Localizer
    from scripts import level_folds
    from scripts.mean_folds import mean_folds

    folder, localizer_sha256 = work / "folds", Localizer.load().weights.sha256
    runs = {stage: f"after-{stage}" for stage in level_folds.INITIAL_STAGES}
    recipes = []
    for stage, run in runs.items():
        level_folds.train_folds(folder, real, stages[stage], run, [level_folds.ALL, *level_folds.FOLDS])
        recipes.append(
            {
                **level_folds.recipe(),
                "initial_stage": stage,
                "localizer_sha256": localizer_sha256,
                "generator": GENERATOR,
                "initial_weights_sha256": file_sha256(stages[stage]),
                "seconds_of_training": save_curves(folder / run / level_folds.ALL, f"levels-last-{run}"),
            }
        )
    last = len(STAGES)
    phantoms = work / f"levels-data-{STAGES[-1].cases.seed}"
    weights = mean_folds(folder, list(runs.values()), phantoms, work / f"levels-{last}")
    calibration = {"phantoms_of_stage": last, "generator": GENERATOR, "localizer_sha256": localizer_sha256}
    last_stages = {"last_stages": recipes, "calibration": calibration}
    ship(weights, folder / level_folds.LOG_FILE, "levels", recipe | last_stages)


def level_compiler(localizer: "Localizer", views: int) -> "Compiler":
    """Return what compiles studies for the level network.

    Parameters
    ----------
    localizer : Localizer
        Finds the vertebrae.
    views : int
        Views of each vertebra in each of the three orientations.
    """
    from cspine.localization.compiler import Compiler
    from cspine.views.level_views import PLANES, LevelViewSettings
    from cspine.views.settings import CompileSettings

    levels = LevelViewSettings(**dict.fromkeys(PLANES, views))
    return Compiler(CompileSettings(levels=levels), localizer)


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


def ship(weights: Path, log: Path, name: str, recipe: dict[str, Any]) -> None:
    """Copy weights into the package, and their recipe and log into `RECIPES`.

    Parameters
    ----------
    weights : Path
        ONNX file.
    log : Path
        Log of their training.
    name : str
        Name of the network.
    recipe : dict
        Data and settings of the training; the version of the software and the hash of the weights are added.
    """
    SHIPPED.mkdir(exist_ok=True)
    shutil.copyfile(weights, SHIPPED / f"{name}.onnx")
    shutil.copyfile(log, RECIPES / log.name)
    provenance = {
        "statement": RESEARCH_USE_ONLY,
        **recipe,
        "software": cspine.__version__,
        "sha256": file_sha256(SHIPPED / f"{name}.onnx"),
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
    sums = [f"{file_sha256(path)}  {path.name}" for path in sorted(SHIPPED.glob("*.onnx"))]
    write_text(SHIPPED / "SHA256SUMS", "\n".join(sums) + "\n")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()

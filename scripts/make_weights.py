"""The localizer's and the level network's weights that come with the package, made again from seeds.

Run: ``make weights`` or ``python -m benchmarks.weights --work runs/weights``; interrupted, it goes on where it stopped.
Everything is drawn: coarse phantoms for the localizer, then whole phantom studies that the finished localizer finds
vertebrae in, for the level network. What was chosen lies in ``benchmarks/recipes``, beside the learning curves.
"""

import argparse
import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import cspine
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.parallel import default_workers
from cspine.core.progress import Progress
from cspine.phantom import PhantomSettings
from cspine.phantom.settings import GENERATOR

SHIPPED = Path(cspine.__file__).parent / "detect" / "embedded"
RECIPES = Path(__file__).parent / "recipes"

COARSE: dict[str, Any] = {"studies": 1200, "seed": 1001}
BEYOND: dict[str, float] = {"spread": 1.6, "posture": 1.5, "shortened": 0.25}
"""Necks that the localizer learns from differ by so many times as much as people do, so that it goes by shape and not
by size, and more of them are cut off."""
LOCALIZER: dict[str, Any] = {"epochs": 7, "batch": 4, "seed": 1}

WIDER: dict[str, Any] = {"prevalence": 0.75, "spread": 1.25, "posture": 1.3, "matrix": 320}
"""More are fractured than in the challenge, to which calibration takes them back; necks differ more than people do; and
320 pixels hold what the scanners' kernels pass, in half the time that 512 take."""

MANY: dict[str, float] = {**WIDER, "prevalence": 1.0, "further_levels": 0.5}
"""Necks that give single vertebrae only, three in five of them broken; they are never held out."""


@dataclass(frozen=True)
class Round:
    """A training of the level network, on phantoms that no round before has seen."""

    studies: dict[str, Any]
    further: dict[str, Any]
    fit: dict[str, Any]


_ONE: dict[str, Any] = {"batch": 1, "workers": 0}

ROUNDS = (
    Round(
        {"studies": 500, "seed": 2001}, {"studies": 600, "seed": 2002}, {**_ONE, "seed": 1, "cracks": 8, "epochs": 3}
    ),
    Round(
        {"studies": 500, "seed": 2003},
        {"studies": 700, "seed": 2004},
        {**_ONE, "seed": 2, "cracks": 5, "epochs": 6, "learning_rate": 1e-3},
    ),
    Round(
        {"studies": 700, "seed": 2005},
        {"studies": 1000, "seed": 2006},
        {**_ONE, "seed": 3, "cracks": 4, "epochs": 7, "mixed": 0.57, "learning_rate": 1e-3},
    ),
)
"""Each goes on from the weights of the one before, and calibrates on necks of its own that it held out."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/weights"), help="where data and runs go (3 GB)")
    parser.add_argument("--only", choices=["localizer", "levels"], help="make one of them")
    options = parser.parse_args()
    if options.only != "levels":
        make_localizer(options.work)
    if options.only != "localizer":
        make_levels(options.work)
    write_sums()


def make_localizer(work: Path) -> None:
    from cspine.training.localizer.examples import write_phantom_set
    from cspine.training.localizer.train import train_localizer
    from cspine.training.trainer import TrainerSettings

    tell = teller(work / "localizer.log")
    drawn = PhantomSettings(**BEYOND)
    files = write_phantom_set(work / "coarse", settings=drawn, workers=default_workers(), progress=tell, **COARSE)
    settings = TrainerSettings(**LOCALIZER)
    train_localizer(files, work / "localizer", settings, phantom=True, progress=tell)
    seconds = keep_curves(work / "localizer", "localizer")
    made = {"data": {**COARSE, **BEYOND}, "fit": settings.model_dump(mode="json"), "seconds_of_training": seconds}
    keep(work / "localizer", "localizer", made)


def make_levels(work: Path) -> None:
    from cspine.datasets.compiled import CompiledDataset
    from cspine.localization.compiler import Compiler
    from cspine.localization.localizer import Localizer
    from cspine.models.metadata import LevelsMetadata
    from cspine.models.weights import load_weights
    from cspine.training.levels.phantom_dataset import write_phantom_dataset
    from cspine.training.levels.settings import LevelTrainSettings
    from cspine.training.levels.train import train_levels
    from cspine.views.settings import CompileSettings

    tell = teller(work / "levels.log")
    localizer = Localizer.load()
    compiler = Compiler(CompileSettings(), localizer)

    def draw(name: str, settings: dict[str, float], which: dict[str, Any]) -> CompiledDataset:
        drawn = PhantomSettings(**settings)
        return write_phantom_dataset(
            work / name, compiler, settings=drawn, workers=default_workers(), progress=tell, **which
        )

    start, made = None, []
    for number, part in enumerate(ROUNDS, start=1):
        run, settings = work / f"levels-{number}", LevelTrainSettings(**part.fit)
        if not (run / "weights.onnx").is_file():
            further = draw(f"levels-further-{part.further['seed']}", MANY, part.further)
            store = draw(f"levels-data-{part.studies['seed']}", WIDER, part.studies)
            train_levels(store, run, settings, further=further, start=start, progress=tell)
        start = run / "weights.onnx"
        metadata, chosen = load_weights(LevelsMetadata, start).metadata, settings.model_dump(mode="json")
        if (metadata.training, metadata.localizer_sha256) != (chosen, localizer.weights.sha256):
            raise SystemExit(f"{run}: was trained in another way; delete it, or name another --work")
        data = {**part.studies, **WIDER, "further": {**part.further, **MANY}}
        seconds = keep_curves(run, run.name)
        made.append({"data": data, "fit": chosen, "seconds_of_training": seconds})
    keep(run, "levels", {"rounds": made, "localizer_sha256": localizer.weights.sha256})


def keep(run: Path, name: str, made: dict[str, Any]) -> None:
    """Copy a run's weights into the package, and what tells how they came about into the recipes."""
    SHIPPED.mkdir(exist_ok=True)
    shutil.copyfile(run / "weights.onnx", SHIPPED / f"{name}.onnx")
    shutil.copyfile(run.parent / f"{name}.log", RECIPES / f"{name}.log")
    recipe = {
        "statement": RESEARCH_USE_ONLY,
        **made,
        "generator": GENERATOR,
        "software": cspine.__version__,
        "sha256": hashlib.sha256((SHIPPED / f"{name}.onnx").read_bytes()).hexdigest(),
    }
    (RECIPES / f"{name}.json").write_text(json.dumps(recipe, indent=2) + "\n")


def keep_curves(run: Path, name: str) -> int:
    """Copy a run's learning curves into the recipes; return the seconds that it trained for."""
    from cspine.training.levels.train import CRACKS_FOLDER

    RECIPES.mkdir(exist_ok=True)
    for file in ("curves.csv", "curves.png"):
        shutil.copyfile(run / file, RECIPES / f"{name}-{file}")
    seconds = float(pd.read_csv(run / "curves.csv")["seconds"].sum())
    if (run / CRACKS_FOLDER / "curves.csv").is_file():
        shutil.copyfile(run / CRACKS_FOLDER / "curves.csv", RECIPES / f"{name}-cracks-curves.csv")
        seconds += float(pd.read_csv(run / CRACKS_FOLDER / "curves.csv")["seconds"].sum())
    return round(seconds)


def write_sums() -> None:
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sorted(SHIPPED.glob("*.onnx"))]
    (SHIPPED / "SHA256SUMS").write_text("\n".join(sums) + "\n")


def teller(log: Path) -> Progress:
    """Return a progress callback that prints, and keeps what it prints; an interrupted run's log goes on."""
    log.parent.mkdir(parents=True, exist_ok=True)

    def tell(stage: str, done: int, total: int, /) -> None:
        if done % max(total // 20, 1) == 0:
            line = f"{time.strftime('%H:%M:%S')} {stage}: {done} of {total}"
            print(line, flush=True)
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    return tell


if __name__ == "__main__":
    main()

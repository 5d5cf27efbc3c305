"""Last stage of the level network: on phantoms and on virtual fractures in real necks.

It is trained once on all scans, and once without the scans of each fold, to be judged on these.
All runs have the same settings and keep their last epoch: the validation phantoms, by which an epoch would be selected,
do not stand for real bone. It starts from the weights of each of `INITIAL_STAGES` in turn, and `scripts.mean_folds`
takes the mean of their parameters.

Run: ``python -m scripts.level_folds --work DIR --real DIR --init-weights FILE --name NAME``; an interrupted run
resumes. ``--only NAME`` trains one of the networks, as for two at a time.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.progress import log_progress

from cspine.core.anatomy import VERTEBRAE
from cspine.core.processors import default_workers
from scripts.make_weights import CASE_SETTINGS, PhantomSample

if TYPE_CHECKING:
    from cspine.core.progress import Progress
    from cspine.datasets.compiled import CompiledDataset
    from cspine.localization.compiler import Compiler

NECKS: Final = {
    "vtk-head": "vtk-head",
    "visible-human": "visible-human/visible-human-neck.nii.gz",
    "weasis-neck": "weasis-neck",
}
"""Intact real necks: name to the path below the folder of real CT."""

SOURCES: Final = {
    "vtk-head": "fullHead (VTK data, Kitware, BSD-3-Clause)",
    "visible-human": "Visible Human Project (U.S. National Library of Medicine)",
    "weasis-neck": "demo-archive (nroduit, CC BY 4.0)",
}
"""Source and licence of each scan, for the metadata of weights; NOTICE states them in full."""

FOLDS: Final = {"a": ("weasis-neck",), "b": ("vtk-head", "visible-human")}
"""Scans that the network of each fold is trained without, and judged on."""

PHANTOMS: Final = PhantomSample(studies=240, seed=2008)
"""Drawn with `CASE_SETTINGS`; a fifth of them is the validation set."""

VIRTUAL_SEED: Final = 11
COPIES: Final = 48

INSERTION: Final[dict[str, Any]] = {"min_modelled_visibility": 0.5, "level_mix": dict.fromkeys(VERTEBRAE, 1.0)}
MIN_VISIBILITY: Final = 0.0
"""Vertebrae whose fracture is less visible after the acquisition are left out: labels that nobody can see teach
guessing. None were left out in the training of the weights that ship."""

VIEWS: Final = 9
"""Views of each vertebra in each of the three orientations."""

INITIAL_STAGES: Final = (3, 4)
"""Numbers of the stages whose weights the last one starts from."""

SETTINGS: Final[dict[str, Any]] = {
    "batch_size": 1,
    "workers": 0,
    "seed": 4,
    "learning_rate": 2e-4,
    "ema_decay": 0.99,
    "pretrain_epochs": 0,
    "epochs": 5,
    "resampled_epoch_fraction": 0.6,
    "auxiliary_fraction": 0.4,
    "selection": "last",
    "batch_norm": "fixed",
}
"""Fields of `LevelTrainSettings` that differ from their defaults."""

ALL: Final = "all"
LOG_FILE: Final = "levels-last.log"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/weights/folds"), help="folder for data and runs")
    parser.add_argument("--real", type=Path, required=True, help="folder of real CT")
    parser.add_argument("--init-weights", type=Path, required=True, help="weights of the stage before")
    parser.add_argument("--name", default="runs", help="folder of the runs in the work folder")
    parser.add_argument("--only", choices=[ALL, *FOLDS], help="train the network of all scans, or of this fold")
    options = parser.parse_args()
    names = [options.only] if options.only else [ALL, *FOLDS]
    train_folds(options.work, options.real, options.init_weights, options.name, names)


def train_folds(work: Path, real: Path, init_weights: Path, name: str, networks: Sequence[str]) -> None:
    """Train the networks of some folds.

    Parameters
    ----------
    work : Path
        Gets the phantoms, the virtual studies and the log.
    real : Path
        Folder of real CT.
    init_weights : Path
        Weights of the stage before.
    name : str
        Folder in `work` that gets the runs.
    networks : sequence of str
        `ALL`, or a fold.
    """
    from cspine.localization.localizer import Localizer
    from cspine.training.levels.settings import LevelTrainSettings
    from cspine.training.levels.train import train_levels
    from scripts.make_weights import level_compiler, write_cases

    progress = log_progress(work / LOG_FILE)
    compiler = level_compiler(Localizer.load(), VIEWS)
    phantoms = write_cases(work / "phantoms", PHANTOMS, CASE_SETTINGS, compiler, progress)
    virtual = write_virtual(work / "virtual", real, compiler, progress)
    for network in networks:
        auxiliary = [dataset for scan, dataset in virtual.items() if scan not in FOLDS.get(network, ())]
        train_levels(
            phantoms, work / name / network, LevelTrainSettings(**SETTINGS), auxiliary_data=auxiliary,
            init_weights=init_weights, progress=progress,
        )  # fmt: skip


def write_virtual(folder: Path, real: Path, compiler: "Compiler", progress: "Progress") -> "dict[str, CompiledDataset]":
    """Make the virtual studies of each scan; those that are there already stay."""
    from cspine.insertion.settings import InsertionSettings
    from cspine.training.levels.virtual_dataset import VirtualSource, VirtualStudies, write_virtual_dataset

    studies = VirtualStudies(COPIES, VIRTUAL_SEED, InsertionSettings(**INSERTION), MIN_VISIBILITY)
    return {
        name: write_virtual_dataset(
            folder / name,
            compiler,
            [VirtualSource(name, real / path)],
            studies,
            workers=default_workers(),
            progress=progress,
        )
        for name, path in NECKS.items()
    }


def recipe() -> dict[str, Any]:
    """Return data and settings of this stage, for the recipe."""
    return {
        "phantoms": {**asdict(PHANTOMS), **CASE_SETTINGS},
        "virtual": {
            "seed": VIRTUAL_SEED,
            "copies": dict.fromkeys(NECKS, COPIES),
            "insertion": INSERTION,
            "min_visibility": MIN_VISIBILITY,
        },
        "views": [VIEWS] * 3,
        "folds": FOLDS,
        "fit": SETTINGS,
    }


if __name__ == "__main__":
    main()

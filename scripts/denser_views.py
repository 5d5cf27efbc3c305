"""Let the networks of `scripts.level_folds` see denser planes than they were trained with.

The encoder sees one plane at a time, and views are pooled by attention, so that a network takes any number of planes.
With nine views of each orientation instead of the five of its training it misses less of what lies between planes
(``docs/concepts/level-classification.md``). Calibration and operating points are those of the denser planes
(`scripts.calibrate_folds`).

Run: ``python -m scripts.denser_views --work DIR --real DIR``, after all networks of `scripts.level_folds`.
"""

import argparse
from pathlib import Path
from typing import Final

import pandas as pd
from benchmarks.progress import log_progress

from cspine.classification.level_classifier import LevelClassifier
from cspine.core.columns import STUDY
from cspine.core.files import write_text
from cspine.core.run_files import WEIGHTS_FILE
from cspine.localization.compiler import Compiler
from cspine.localization.localizer import Localizer
from cspine.training.export import export_onnx
from cspine.training.levels.initialization import load_pretrained
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.onnx_graph import level_graph
from cspine.training.levels.train import PREDICTIONS_FILE
from cspine.views.level_views import PLANES
from scripts.calibrate_folds import calibrate_folds, predict_raw
from scripts.level_folds import ALL, FOLDS, PHANTOMS, write_virtual
from scripts.make_weights import CASE_SETTINGS, write_cases

VIEWS: Final = (9, 9, 9)
"""Sagittal, coronal and axial views of a vertebra, of three planes each."""

FOLDER: Final = "denser"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/weights/folds"), help="folder of the runs")
    parser.add_argument("--real", type=Path, required=True, help="folder of real CT")
    options = parser.parse_args()
    calibrate_denser(options.work, options.real)


def calibrate_denser(work: Path, real: Path) -> Path:
    """Write and calibrate the networks of all folds with denser planes; return the calibrated weights of all necks.

    Parameters
    ----------
    work : Path
        Folder of `scripts.level_folds`; its folder `FOLDER` gets data and weights.
    real : Path
        Folder of real CT.
    """
    out = work / FOLDER
    progress = log_progress(out / "data.log")
    for name in (ALL, *FOLDS):
        write_denser(work / name / WEIGHTS_FILE, out / name / WEIGHTS_FILE)
    images = LevelClassifier.load(out / ALL / WEIGHTS_FILE).metadata.images
    compiler = Compiler(images, Localizer.load())
    phantoms = write_cases(out / "phantoms", PHANTOMS, CASE_SETTINGS, compiler, progress)
    write_virtual(out / "virtual", real, compiler, progress)
    for name in (ALL, *FOLDS):
        validation = pd.read_csv(work / name / PREDICTIONS_FILE, dtype={STUDY: str})[STUDY]
        raw = predict_raw(phantoms, out / name, "phantoms", progress, studies=set(validation))
        if missing := sorted(set(validation) - set(raw.index)):
            raise SystemExit(f"{missing[0]}: a validation phantom that has no vertebrae now; train the folds again")
        raw = raw.loc[list(validation)]
        write_text(out / name / PREDICTIONS_FILE, raw.to_csv(lineterminator="\n"))
    return calibrate_folds(out)


def write_denser(source: Path, target: Path) -> None:
    """Write weights with `VIEWS` in place of the views that they were trained with.

    Parameters
    ----------
    source, target : Path
        ONNX files.
    """
    pretrained = load_pretrained(source)
    earlier = pretrained.metadata
    views = earlier.views.model_copy(update=dict(zip(PLANES, VIEWS, strict=True)))
    metadata = earlier.model_copy(update={"views": views, "inference_views": VIEWS})
    network = LevelNetwork(len(earlier.fracture_types), half_mm=views.half_mm)
    pretrained.load_into(network, earlier.fracture_types)
    target.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(level_graph(network.eval(), views, VIEWS), metadata, target)


if __name__ == "__main__":
    main()

"""Mean of the parameters of level networks that were trained in the same way from different weights, and calibration.

Networks that have common initial weights can be averaged parameter by parameter, which costs nothing in inference
(Wortsman et al. 2022, arXiv 2203.05482). The last stage from the weights of stage 4 ranks fractures better within each
neck, but takes C4 and C5 of visible-human for compressed; the one from those of stage 3 does not
(``docs/concepts/level-classification.md``).

Run: ``python -m scripts.mean_folds --work DIR --name NAME --name NAME --phantoms DIR --validation RUN``, after
`scripts.level_folds` for each name. To judge each neck by the network without it:
``python -m benchmarks.real_texture --out DIR --held-out WORK/mean/held-out.json``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from cspine.core.run_files import WEIGHTS_FILE
from cspine.training.export import export_onnx
from cspine.training.levels.initialization import load_pretrained
from cspine.training.levels.onnx_graph import level_graph
from scripts.calibrate_folds import calibrate_folds
from scripts.level_folds import ALL, FOLDS

FOLDER: Final = "mean"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/weights/folds"), help="folder of `scripts.level_folds`")
    parser.add_argument("--name", action="append", required=True, help="a folder of runs in the work folder")
    parser.add_argument("--phantoms", type=Path, required=True, help="compiled phantoms of the stage before the last")
    parser.add_argument("--validation", type=Path, required=True, help="run whose validation set is calibrated on")
    options = parser.parse_args()
    mean_folds(options.work, options.name, options.phantoms, options.validation)


def mean_folds(work: Path, names: Sequence[str], phantoms: Path, validation: Path) -> Path:
    """Average the networks of all folds and calibrate them; return the calibrated weights of all necks.

    Parameters
    ----------
    work : Path
        Folder of `scripts.level_folds`; its folder `FOLDER` gets the weights.
    names : sequence of str
        Folders of the runs, which have a network of each fold each.
    phantoms : Path
        Compiled phantoms that hold those of `validation`.
    validation : Path
        Folder of a run, whose validation set none of the networks was trained on.
    """
    for network in (ALL, *FOLDS):
        write_mean([work / name / network / WEIGHTS_FILE for name in names], work / FOLDER / network / WEIGHTS_FILE)
    return calibrate_folds(work / FOLDER, work, phantoms, validation)


def write_mean(sources: Sequence[Path], target: Path) -> None:
    """Write weights with the mean of the parameters of others.

    Parameters
    ----------
    sources : sequence of Path
        ONNX files of networks that have common initial weights. The metadata are those of the last one, with the
        training patients of all. Outputs of fracture types that one of them does not have are left out.
    target : Path
        ONNX file.
    """
    pretrained = [load_pretrained(source) for source in sources]
    last = pretrained[-1].metadata
    types = [name for name in last.fracture_types if all(name in each.metadata.fracture_types for each in pretrained)]
    by_level = {
        level: tuple(name for name in names if name in types) for level, names in last.fracture_types_by_level.items()
    }
    update = {
        "trained_on": f"mean of the parameters of {len(pretrained)} networks; the last one: {last.trained_on}",
        "training_patients": tuple(sorted({one for each in pretrained for one in each.metadata.training_patients})),
        "fracture_types": tuple(types),
        "fracture_types_by_level": by_level,
    }
    metadata = last.model_copy(update=update)
    networks = [each.network(metadata.fracture_types) for each in pretrained]
    states, mean = [network.state_dict() for network in networks], networks[-1]
    mean.load_state_dict({name: _mean([state[name] for state in states]) for name in states[-1]})
    target.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(level_graph(mean.eval(), metadata.views, metadata.inference_views), metadata, target)


def _mean(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean of parameters; of counts, as of the batches that a batch norm has seen, the last one."""
    return torch.stack(list(tensors)).mean(dim=0) if tensors[-1].is_floating_point() else tensors[-1]


if __name__ == "__main__":
    main()

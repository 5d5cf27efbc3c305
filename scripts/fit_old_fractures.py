"""Add the output "old fracture or non-union" to the shipped level network, without changing its other outputs.

The output is a logistic regression on the features of a vertebra that the network's other outputs are computed from. It
is fitted on phantoms that no network was trained on, with a ridge penalty chosen by cross-validation over studies. A
new training would have it from the start, as one of the fracture types.

Run: ``python -m scripts.fit_old_fractures --work DIR``; the phantoms are drawn where `DIR` lacks them.
"""

import argparse
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from benchmarks.progress import log_progress

from cspine.core.anatomy import VERTEBRAE
from cspine.core.files import read_json, write_json
from cspine.core.progress import Progress
from cspine.core.typing import Floats
from cspine.datasets.compiled import CompiledDataset
from cspine.metrics.calibration import sigmoid
from cspine.metrics.logistic import fit_logistic
from cspine.metrics.scores import auc
from cspine.models.metadata import OLD_FRACTURE_TYPE, LevelsMetadata
from cspine.training.export import export_onnx
from cspine.training.levels.dataset import LevelDataset, list_cases
from cspine.training.levels.initialization import PretrainedWeights, load_pretrained
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.onnx_graph import level_graph
from scripts.make_weights import (
    CASE_SETTINGS,
    RECIPES,
    SHIPPED,
    PhantomSample,
    file_sha256,
    write_cases,
    write_checksums,
)

PHANTOMS: Final = PhantomSample(studies=300, seed=2010)
RIDGES: Final = (3.0, 10.0, 30.0, 100.0)
"""Penalties that are compared; of features of unit variance."""

FOLDS: Final = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/weights/old-fractures"), help="folder of the phantoms")
    options = parser.parse_args()
    add_old_fractures(options.work, SHIPPED / "levels.onnx")


def add_old_fractures(work: Path, file: Path) -> None:
    """Fit the output and write the weights, their recipe and their checksum.

    Parameters
    ----------
    work : Path
        Gets the phantoms and the log.
    file : Path
        The level network, which is replaced.
    """
    from cspine.localization.compiler import Compiler
    from cspine.localization.localizer import Localizer

    progress, pretrained = log_progress(work / "old-fractures.log"), load_pretrained(file)
    compiler = Compiler(pretrained.metadata.images, Localizer.load())
    phantoms = write_cases(work / "phantoms", PHANTOMS, CASE_SETTINGS, compiler, progress)
    features, truth, studies = read_features(pretrained, phantoms, progress)
    ridge, cross_validated = choose_ridge(features, truth, studies)
    weight, bias = fit(features, truth, ridge)
    before = file_sha256(file)
    export(pretrained, weight, bias, file, described=f"{len(set(studies))} phantoms of seed {PHANTOMS.seed}")
    recipe = {
        "phantoms": {"studies": PHANTOMS.studies, "seed": PHANTOMS.seed, **CASE_SETTINGS},
        "source": read_json(phantoms.folder / "dataset.json")["source"],
        "vertebrae": len(truth),
        "old": int(truth.sum()),
        "ridge": ridge,
        "cross_validated_auc": round(cross_validated, 3),
        "network_before_sha256": before,
    }
    levels = read_json(RECIPES / "levels.json")
    write_json(RECIPES / "levels.json", levels | {"old_fractures": recipe, "sha256": file_sha256(file)})
    write_checksums()
    print(recipe)


def read_features(
    pretrained: PretrainedWeights, dataset: CompiledDataset, progress: Progress
) -> tuple[Floats, Floats, list[str]]:
    """Return the features of all vertebrae, (n, k), which are old fractures, (n,), and the study of each.

    Vertebrae with an acute fracture are left out: the remark is for those without one, and few have both.
    """
    metadata, cases = pretrained.metadata, list_cases(dataset)
    network = _network(pretrained, metadata.fracture_types).eval()
    inputs: list[torch.Tensor] = []
    network.fracture_types.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    data = LevelDataset(cases, metadata.views, (OLD_FRACTURE_TYPE,), metadata.inference_views, None)
    features, truth, studies = [], [], []
    for number, case in enumerate(cases):
        progress("features", number, len(cases))
        batch = data[number]
        with torch.inference_mode():
            network(*(batch[name][None] for name in ("images", "planes", "offsets", "present")))
        known = (batch["present"] & ~batch["truth"][1:].bool()).numpy()
        features.append(inputs.pop()[0].double().numpy()[known])
        truth.append(batch["fracture_types"][:, 0].double().numpy()[known])
        studies += [case.study] * int(known.sum())
    return np.concatenate(features), np.concatenate(truth), studies


def choose_ridge(features: Floats, truth: Floats, studies: list[str]) -> tuple[float, float]:
    """Return the penalty of the least cross-validated log loss, and the cross-validated AUC with it."""
    names = sorted(set(studies))
    fold_of = {name: number % FOLDS for number, name in enumerate(names)}
    folds, best = np.array([fold_of[study] for study in studies]), (np.inf, 0.0, 0.0)
    for ridge in RIDGES:
        score = np.empty(len(truth))
        for fold in range(FOLDS):
            weight, bias = fit(features[folds != fold], truth[folds != fold], ridge)
            score[folds == fold] = features[folds == fold] @ weight + bias
        p = np.clip(sigmoid(score), 1e-6, 1 - 1e-6)
        loss = -float(np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p)))
        sensitivity, alarms = (p[truth == value] >= 0.5 for value in (1, 0))
        print(ridge, loss, auc(truth, score), sensitivity.mean(), alarms.mean())
        best = min(best, (loss, ridge, auc(truth, score)))
    return best[1], best[2]


def fit(features: Floats, truth: Floats, ridge: float) -> tuple[Floats, float]:
    """Return weights, (k,), and bias of the logit."""
    mean, sd = features.mean(axis=0), features.std(axis=0) + 1e-6
    design = np.column_stack([(features - mean) / sd, np.ones(len(features))])
    initial = np.zeros(design.shape[1])
    initial[-1] = np.log(truth.mean() / (1 - truth.mean()))
    coefficients = fit_logistic(design, truth, initial, ridge=ridge)[0]
    weight = coefficients[:-1] / sd
    return weight, float(coefficients[-1] - weight @ mean)


def export(pretrained: PretrainedWeights, weight: Floats, bias: float, file: Path, *, described: str) -> None:
    """Write the network with one more fracture type."""
    metadata = pretrained.metadata
    types = (*(name for name in metadata.fracture_types if name != OLD_FRACTURE_TYPE), OLD_FRACTURE_TYPE)
    network = _network(pretrained, types)
    with torch.no_grad():
        network.fracture_types.weight[-1] = torch.from_numpy(weight).float()
        network.fracture_types.bias[-1] = bias
    by_level = {level: metadata.fracture_types_by_level.get(level, metadata.fracture_types) for level in VERTEBRAE}
    update: dict[str, Any] = {
        "fracture_types": types,
        "fracture_types_by_level": {
            level: tuple(dict.fromkeys((*names, OLD_FRACTURE_TYPE))) for level, names in by_level.items()
        },
        "trained_on": f"{metadata.trained_on}; the output for old fractures was fitted afterwards on {described}",
    }
    changed = LevelsMetadata.model_validate({**dict(metadata), **update})
    export_onnx(level_graph(network, changed.views, changed.inference_views), changed, file)


def _network(pretrained: PretrainedWeights, types: tuple[str, ...]) -> LevelNetwork:
    network = LevelNetwork(len(types), half_mm=pretrained.metadata.views.half_mm)
    pretrained.load_into(network, types)
    return network


if __name__ == "__main__":
    main()

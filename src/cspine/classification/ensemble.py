"""Ensembles of level networks, and test-time augmentation by the left-right flip.

The members of an ensemble are the networks of one cross-validation (``train --all-folds``). Members and the flipped
input are averaged alike: the mean of the logits of levels and patient, the mean of the probabilities of fracture types
and saliency maps.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import WeightsError
from cspine.core.findings import WeightsIdentity
from cspine.core.typing import Bools, Floats, Floats32
from cspine.metrics.calibration import logit, sigmoid
from cspine.models.metadata import LevelsMetadata
from cspine.models.weights import Weights
from cspine.views.flip import flip_left_right, flip_offsets
from cspine.views.level_views import CHANNELS, PLANES

_EVIDENCE_AXES: Final = 6
"""Axes of the network's saliency maps: cases, levels, views, planes, rows, columns."""

_SAGITTAL: Final = PLANES.index("sagittal")

Members = tuple[Weights[LevelsMetadata], ...]
"""The weights of an ensemble; of a single network, one."""


@dataclass(frozen=True)
class NetworkInput:
    """The input of a level network for one case, without the batch axis.

    Attributes
    ----------
    images : (7, views, 3, pixels, pixels) float32
        Gray values from 0 to 1.
    orientations : (views,) int64
        Orientation of each view, as an index of `PLANES`.
    offsets_mm : (views,) float32
        How far each view lies from the center of the vertebra's box.
    present : (7,) bool
        Which levels were scanned.
    """

    images: Floats32
    orientations: npt.NDArray[np.int64]
    offsets_mm: Floats32
    present: Bools

    @property
    def is_sagittal(self) -> Bools:
        """Which views are sagittal, (views,)."""
        return np.asarray(self.orientations == _SAGITTAL)


@dataclass(frozen=True)
class NetworkOutput:
    """The output of a level network for one case, as probabilities with positives weighted as in training.

    Attributes
    ----------
    levels : (7,)
        Probability of a fracture of each level.
    overall : ()
        Probability of any fracture.
    fracture_types : (7, types)
        Probability of each fracture type.
    evidence : (7, views, 3, rows / 8, columns / 8)
        Saliency maps: the probability of a fracture in each cell of each plane.
    """

    levels: Floats
    overall: Floats
    fracture_types: Floats
    evidence: Floats


def require_ensemble(members: Members, paths: Sequence[Path | None]) -> None:
    """Raise an error unless level networks fit their metadata and can be averaged.

    Parameters
    ----------
    members : tuple of Weights
        The loaded networks of the ensemble, one per fold.
    paths : sequence of Path or None
        Their files, for the message; None for embedded weights.

    Raises
    ------
    WeightsError
        A network does not fit its metadata, has saliency maps of an earlier version, or they are not of one training.
    """
    first = members[0].metadata
    for weights, path in zip(members, paths, strict=True):
        metadata, name = weights.metadata, path or weights.metadata.name
        shape, size = weights.input_shape, metadata.views.pixels
        weights.require(shape[1] == len(VERTEBRAE) and shape[3:] == (CHANNELS, size, size), path)
        if weights.outputs.get("evidence") != _EVIDENCE_AXES:
            raise WeightsError(f"{name}: has saliency maps of an earlier version; train again with this version")
        if _shared_settings(metadata) != _shared_settings(first):
            raise WeightsError(
                f"{name}: is of another training than the first; average networks of one `train --all-folds`"
            )


def _shared_settings(metadata: LevelsMetadata) -> list[object]:
    """Return what networks must have in common to be averaged.

    Calibration and operating points are fitted on the pooled predictions of all folds, so these are equal, too.
    """
    return [
        metadata.views,
        metadata.inference_views,
        metadata.fracture_types,
        metadata.localizer_sha256,
        metadata.positive_weight,
        metadata.phantom_only,
        metadata.synthetic_only,
        metadata.calibration_level,
        metadata.calibration_overall,
        metadata.operating_points_level,
        metadata.operating_points_overall,
    ]


def ensemble_identity(members: Members) -> WeightsIdentity:
    """Return what findings record of an ensemble: the hash of its members' hashes, and all their training data."""
    if len(members) == 1:
        return members[0].identity
    joined = hashlib.sha256("".join(weights.sha256 for weights in members).encode()).hexdigest()
    trained_on = "; ".join(weights.metadata.trained_on for weights in members)
    return members[0].identity.model_copy(
        update={"sha256": joined, "trained_on": f"{len(members)} networks averaged: {trained_on}"}
    )


def predict_ensemble(members: Members, case: NetworkInput, *, tta: bool) -> NetworkOutput:
    """Return the averaged output of an ensemble.

    Parameters
    ----------
    members : tuple of Weights
        The networks whose predictions are averaged.
    case : NetworkInput
        Views and positions that every network gets.
    tta : bool
        Test-time augmentation: average over the case and its left-right flip.
    """
    outputs = [_run_network(weights, case) for weights in members]
    if tta:
        outputs += [_unflip_output(_run_network(weights, _flip_input(case)), case) for weights in members]
    return _average(outputs)


def _average(outputs: list[NetworkOutput]) -> NetworkOutput:
    return NetworkOutput(
        levels=sigmoid(np.mean([logit(output.levels) for output in outputs], axis=0)),
        overall=sigmoid(np.mean([logit(output.overall) for output in outputs], axis=0)),
        fracture_types=np.mean([output.fracture_types for output in outputs], axis=0),
        evidence=np.mean([output.evidence for output in outputs], axis=0),
    )


def _run_network(weights: Weights[LevelsMetadata], case: NetworkInput) -> NetworkOutput:
    inputs = {
        "views": case.images,
        "planes": case.orientations,
        "offsets": case.offsets_mm,
        "present": case.present,
    }
    batch = {name: np.asarray(value)[None] for name, value in inputs.items()}
    values = weights.session.run(["levels", "overall", "fracture_types", "evidence"], batch)
    levels, overall, fracture_types, evidence = (np.asarray(value, np.float64)[0] for value in values)
    return NetworkOutput(levels, overall, fracture_types, evidence)


def _flip_input(case: NetworkInput) -> NetworkInput:
    """Return the input of the mirror image of a case."""
    return replace(
        case,
        images=flip_left_right(case.images, case.is_sagittal),
        offsets_mm=flip_offsets(case.offsets_mm, case.is_sagittal),
    )


def _unflip_output(output: NetworkOutput, case: NetworkInput) -> NetworkOutput:
    """Return the output of a mirror image in the geometry of the case itself; only saliency maps have sides."""
    return replace(output, evidence=flip_left_right(output.evidence, case.is_sagittal))

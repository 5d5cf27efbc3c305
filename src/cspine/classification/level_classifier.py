"""The level network: each vertebra through its views, and what they say together."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.classification.prediction import EvidencePicture, NetworkPrediction
from cspine.classification.saliency import EvidenceField, strongest_place
from cspine.core.anatomy import VERTEBRAE, Level
from cspine.core.errors import WeightsError
from cspine.core.findings import (
    CalibrationIdentity,
    FractureTypeFinding,
    OperatingPointName,
    PatientFinding,
    Threshold,
    VertebraFinding,
    WeightsIdentity,
)
from cspine.core.typing import Floats
from cspine.localization.compiler import Compiler
from cspine.localization.loading import find_localizer
from cspine.localization.localizer import Localizer
from cspine.metrics.calibration import calibrate_cases, logit, sigmoid
from cspine.metrics.rsna2022 import unweighted
from cspine.models.metadata import UNNAMED, LevelsMetadata, OperatingPoint
from cspine.models.weights import Weights, load_weights
from cspine.spine.spine_map import Vertebra
from cspine.views.compiled import CompiledStudy, CompiledVolume
from cspine.views.level_views import CHANNELS, PLANES, LevelViews, view_numbers, view_places

_KINDS: Final = 3

_AXES: Final = 6
"""Of evidence: necks, levels, views, planes, rows, columns."""

_UNSURE: Final = 0.8
"""A level less sure than this is said to be uncertain."""


@dataclass(frozen=True)
class Scores:
    """What the network says of one neck, raw.

    Attributes
    ----------
    levels : (7,) float
        Plain probabilities; NaN where a vertebra is absent.
    overall : float
    fracture_types : (7, kinds) float
    evidence : (7, views, 3, rows / 8, columns / 8) float32
        Of each plane of the views that are looked at.
    """

    levels: Floats
    overall: float
    fracture_types: Floats
    evidence: npt.NDArray[np.float32]


@dataclass(frozen=True)
class LevelClassifier:
    """A level network, or several that are averaged, with the localizer that finds their vertebrae.

    Attributes
    ----------
    members : tuple of Weights
        Of level networks that look at the same views; their logits are averaged.
    localizer : Localizer
    tta : bool
        Whether necks are looked at in a mirror too, and both answers averaged.
    """

    members: tuple[Weights[LevelsMetadata], ...]
    localizer: Localizer
    tta: bool = False

    @classmethod
    def load(cls, *paths: Path | None, localizer: Localizer | None = None, tta: bool = False) -> "LevelClassifier":
        """Load networks; the embedded one where no path is given.

        Parameters
        ----------
        *paths : Path or None
            Files; None for the embedded one.
        localizer : Localizer, optional
            Finds their vertebrae; where left out, the one at hand that found those that they saw, or the embedded one.
        tta : bool
            As the attribute.

        Raises
        ------
        WeightsError
            A file cannot be used, or they do not look at the same.
        """
        members = tuple(load_weights(LevelsMetadata, path) for path in paths or (None,))
        first = members[0].metadata
        for weights, path in zip(members, paths or (None,), strict=True):
            size, metadata, name = weights.metadata.views.pixels, weights.metadata, path or weights.metadata.name
            if weights.input_shape[1] != len(VERTEBRAE) or weights.input_shape[3:] != (CHANNELS, size, size):
                raise WeightsError(f"{name}: its network does not fit its own card; get it again")
            if weights.outputs.get("evidence") != _AXES:
                raise WeightsError(f"{name}: tells evidence in an earlier version's way; train it again")
            if _training_of(metadata) != _training_of(first):
                raise WeightsError(
                    f"{name}: is of another training than the first; average networks of one `train --all-folds`"
                )
        return cls(members, localizer or find_localizer(first.localizer_sha256), tta)

    @property
    def metadata(self) -> LevelsMetadata:
        """What the weights say of themselves; of several, the first."""
        return self.members[0].metadata

    @property
    def identity(self) -> WeightsIdentity:
        """What findings say of the weights."""
        if len(self.members) == 1:
            return self.members[0].identity
        joined = hashlib.sha256("".join(weights.sha256 for weights in self.members).encode()).hexdigest()
        told = "; ".join(weights.metadata.trained_on for weights in self.members)
        return self.members[0].identity.model_copy(
            update={"sha256": joined, "trained_on": f"{len(self.members)} networks averaged: {told}"}
        )

    @property
    def calibration(self) -> CalibrationIdentity:
        """What findings say of how numbers became probabilities."""
        metadata = self.metadata
        patient = {point.name: point.threshold for point in metadata.operating_points_overall}
        points = tuple(
            Threshold(name=point.name, target=point.target, level=point.threshold, patient=patient[point.name])
            for point in metadata.operating_points_level
            if point.name in patient
        )
        return CalibrationIdentity(
            fitted_on=metadata.calibration_data, prevalence=metadata.calibration_prevalence, points=points
        )

    @property
    def compiler(self) -> Compiler:
        """How studies are compiled for it."""
        return Compiler(self.metadata.images, self.localizer, inference_views=self.metadata.inference_views)

    def scores(self, levels: tuple[LevelViews, ...]) -> Scores:
        """Return what the networks say of a neck's views, which have gone through JPEG as in training."""
        chosen = view_numbers(self.metadata.views, self.metadata.inference_views)
        planes, offsets = view_places(self.metadata.views)
        size = self.metadata.views.pixels
        images = np.zeros((len(VERTEBRAE), len(chosen), CHANNELS, size, size), np.float32)
        present = np.zeros(len(VERTEBRAE), np.bool_)
        for views in levels:
            number = VERTEBRAE.index(views.level)
            present[number] = True
            np.divide(views.views[chosen], np.float32(self.metadata.views.brightest), out=images[number])
        case = _NetworkInput(images, planes[chosen], offsets[chosen], present)
        answers = [_ask(weights, case) for weights in self.members]
        if self.tta:
            answers += [_invert_flip(_ask(weights, _mirrored(case)), case) for weights in self.members]
        weight = self.metadata.positive_weight
        said, overall = (sigmoid(np.mean([logit(answer[part]) for answer in answers], axis=0)) for part in (0, 1))
        fracture_types, evidence = (np.mean([answer[part] for answer in answers], axis=0) for part in (2, 3))
        plain = np.where(present, unweighted(said, positive_weight=weight), np.nan)
        return Scores(
            plain, float(unweighted(overall, positive_weight=weight)), fracture_types, evidence.astype(np.float32)
        )

    def calibrated(self, scores: Scores) -> tuple[Floats, float]:
        """Return calibrated probabilities of C1 to C7, NaN where absent, and of the patient."""
        level, overall = self.metadata.calibration_level, self.metadata.calibration_overall
        of_levels, of_patient = calibrate_cases(level, overall, scores.levels, scores.overall)
        return of_levels, float(of_patient)

    def probabilities(self, images: CompiledVolume) -> Floats:
        """Return what `read` says of images, (8,): the patient, then C1 to C7, NaN where absent."""
        levels, overall = self.calibrated(self.scores(tuple(views.stored() for views in images.levels)))
        return np.array([overall, *levels.tolist()])

    def predict(self, compiled: CompiledStudy) -> NetworkPrediction:
        """Say what is found in a study."""
        levels = tuple(views.stored() for views in compiled.images.levels)
        scores = self.scores(levels)
        calibrated, overall = self.calibrated(scores)
        views = {found.level: found for found in levels}
        vertebrae, pictures = [], []
        fields: dict[str, EvidenceField] = {}
        for number, level in enumerate(VERTEBRAE):
            if level not in views:
                vertebrae.append(_absent(compiled.images, level))
                continue
            shown = self._pictures(views[level], scores.evidence[number], compiled)
            both = float(scores.levels[number]), float(calibrated[number])
            vertebrae.append(self._vertebra(level, both, scores.fracture_types[number], compiled.images, shown))
            pictures += shown
            fields[level] = self._field(views[level], scores.evidence[number])
        patient = PatientFinding(
            probability=overall,
            raw_probability=scores.overall,
            operating_points_reached=_above(self.metadata.operating_points_overall, overall),
            reasons=_about_patient(vertebrae),
        )
        return NetworkPrediction(patient, tuple(vertebrae), self._warnings(), tuple(pictures), fields)

    def strongest(
        self, evidence: npt.NDArray[np.float32], among: npt.NDArray[np.bool_] | None = None
    ) -> tuple[int, npt.NDArray[np.float32]]:
        """Return the plane that speaks most for a fracture of a vertebra, and its map.

        Parameters
        ----------
        evidence : (views, 3, rows / 8, columns / 8)
            Of that vertebra, from `Scores`.
        among : (views,) bool, optional
            Which of the views that are looked at; all where left out.
        """
        peaks = evidence.max(axis=(2, 3))
        if among is not None:
            peaks[~among] = -1.0
        view, channel = divmod(int(peaks.argmax()), CHANNELS)
        chosen = view_numbers(self.metadata.views, self.metadata.inference_views)
        return CHANNELS * int(chosen[view]) + channel, evidence[view, channel]

    def _field(self, views: LevelViews, evidence: npt.NDArray[np.float32]) -> EvidenceField:
        """Return the maps of all planes that were looked at."""
        chosen = view_numbers(self.metadata.views, self.metadata.inference_views)
        planes = (CHANNELS * chosen[:, None] + np.arange(CHANNELS)).ravel()
        return EvidenceField(views, planes, evidence.reshape(-1, *evidence.shape[2:]))

    def _warnings(self) -> tuple[str, ...]:
        found = []
        if self.metadata.localizer_sha256 != self.localizer.sha256:
            found.append("the vertebrae were found by another localizer than those that the weights were trained on")
        if self.metadata.calibration_underpowered:
            found.append("not all probabilities are calibrated: too few patients were held out of training")
        return tuple(found)

    def _vertebra(
        self,
        level: Level,
        probabilities: tuple[float, float],
        fracture_types: Floats,
        images: CompiledVolume,
        shown: list[EvidencePicture],
    ) -> VertebraFinding:
        vertebra, (raw, probability) = _of(images, level), probabilities
        operating_points_reached = _above(self.metadata.operating_points_level, probability)
        x, y, z = vertebra.centroid_lps_mm.tolist()
        return VertebraFinding(
            level=level,
            probability=probability,
            raw_probability=raw,
            operating_points_reached=operating_points_reached,
            coverage=vertebra.coverage,
            confidence=vertebra.confidence,
            centroid_lps_mm=(x, y, z),
            fracture_types=self._likely(level, fracture_types) if operating_points_reached else (),
            evidence=tuple(picture.evidence for picture in shown),
            reasons=(*_reasons(vertebra), *images.image_quality_problems.get(level, ())),
        )

    def _likely(self, level: Level, fracture_types: Floats) -> tuple[FractureTypeFinding, ...]:
        """Return the likeliest kinds of those that this level can be broken in."""
        known = set(self.metadata.fracture_types_by_level.get(level, self.metadata.fracture_types)) - {UNNAMED}
        ranked = [kind for kind in np.argsort(-fracture_types).tolist() if self.metadata.fracture_types[kind] in known]
        return tuple(
            FractureTypeFinding(name=self.metadata.fracture_types[kind], probability=float(fracture_types[kind]))
            for kind in ranked[:_KINDS]
        )

    def _pictures(
        self, views: LevelViews, evidence: npt.NDArray[np.float32], compiled: CompiledStudy
    ) -> list[EvidencePicture]:
        """Return the strongest plane of each kind, the strongest first."""
        fracture_types = view_places(self.metadata.views)[0][
            view_numbers(self.metadata.views, self.metadata.inference_views)
        ]
        found = []
        for kind in range(len(PLANES)):
            if (fracture_types == kind).any():
                plane, strength = self.strongest(evidence, fracture_types == kind)
                place = strongest_place(views, plane, strength, compiled.series)
                grey = views.images[plane] / (self.metadata.views.brightest / 255.0)
                found.append(EvidencePicture(views.level, place, grey.astype(np.uint8), strength))
        return sorted(found, key=lambda picture: -picture.evidence.strength)


def _training_of(metadata: LevelsMetadata) -> list[object]:
    """Return what networks must share to be averaged; their calibration is that of each by itself."""
    calibrated = [
        metadata.calibration_level,
        metadata.calibration_overall,
        metadata.operating_points_level,
        metadata.operating_points_overall,
    ]
    learnt = [
        metadata.views,
        metadata.inference_views,
        metadata.fracture_types,
        metadata.localizer_sha256,
        metadata.positive_weight,
        metadata.phantom_only,
    ]
    return [*learnt, *calibrated]


Answer = tuple[Floats, Floats, Floats, Floats]
"""Levels, overall, kinds and evidence, as chances."""


@dataclass(frozen=True)
class _NetworkInput:
    """What a network is given of one neck; the shapes are those of `cspine.training.levels.network`, without the first."""

    images: npt.NDArray[np.float32]
    planes: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]


def _ask(weights: Weights[LevelsMetadata], case: _NetworkInput) -> Answer:
    given = {"views": case.images, "planes": case.planes, "offsets": case.offsets, "present": case.present}
    batch = {name: np.asarray(value)[None] for name, value in given.items()}
    said = weights.session.run(["levels", "overall", "fracture_types", "evidence"], batch)
    levels, overall, fracture_types, evidence = (np.asarray(values, np.float64)[0] for values in said)
    return levels, overall, fracture_types, evidence


def _mirrored(case: _NetworkInput) -> _NetworkInput:
    """Return the neck's mirror image: left is right."""
    sagittal = case.planes == PLANES.index("sagittal")
    images = case.images[..., ::-1].copy()
    images[:, sagittal] = case.images[:, sagittal, ::-1]  # seen from the same side, neighbours the other way round
    offsets = np.where(sagittal, -case.offsets, case.offsets).astype(np.float32)
    return _NetworkInput(images, case.planes, offsets, case.present)


def _invert_flip(answer: Answer, case: _NetworkInput) -> Answer:
    """Return what was said of a mirror image as of the neck itself."""
    levels, overall, fracture_types, evidence = answer
    aside = case.planes != PLANES.index("sagittal")
    back = evidence.copy()
    back[:, aside] = evidence[:, aside, ..., ::-1]
    back[:, ~aside] = evidence[:, ~aside, ::-1]
    return levels, overall, fracture_types, back


def _about_patient(vertebrae: list[VertebraFinding]) -> tuple[str, ...]:
    """Return why the patient's number may not be relied on: what it does not speak of."""
    found = []
    for words, chosen in (
        ("not in the scan", [each.level for each in vertebrae if each.coverage == "absent"]),
        ("only partly in the scan", [each.level for each in vertebrae if each.coverage == "partial"]),
        ("spoilt or uncertain", [each.level for each in vertebrae if each.coverage == "complete" and each.reasons]),
    ):
        if chosen:
            found.append(f"{words}: {', '.join(chosen)}")
    return tuple(found)


def _above(points: tuple[OperatingPoint, ...], probability: float) -> tuple[OperatingPointName, ...]:
    return tuple(point.name for point in points if probability >= point.threshold)


def _of(images: CompiledVolume, level: Level) -> Vertebra:
    if images.spine is None:  # pragma: no cover - these weights' compiler localises
        raise AssertionError("a study was compiled without a localizer")
    return images.spine[level]


def _absent(images: CompiledVolume, level: Level) -> VertebraFinding:
    found = images.spine.cervical[level] if images.spine else None
    reason = "outside the field of view" if found is None else "almost wholly outside the field of view"
    return VertebraFinding(level=level, probability=None, coverage="absent", reasons=(reason,))


def _reasons(vertebra: Vertebra) -> tuple[str, ...]:
    found = []
    if vertebra.coverage == "partial":
        found.append(f"partly outside the field of view: {100 * vertebra.scanned_fraction:.0f} % was scanned")
    if vertebra.confidence < _UNSURE:
        found.append(f"its level is uncertain ({100 * vertebra.confidence:.0f} %)")
    return tuple(found)

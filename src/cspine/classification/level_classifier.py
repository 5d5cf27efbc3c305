"""The level classifier: fracture probabilities of each vertebra and of the patient from the views of all vertebrae."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cspine.classification.bridged_evidence import discount_bridged_evidence
from cspine.classification.ensemble import (
    Members,
    NetworkInput,
    NetworkOutput,
    ensemble_identity,
    predict_ensemble,
    require_ensemble,
)
from cspine.classification.level_findings import Probabilities, absent_finding, patient_finding, vertebra_finding
from cspine.classification.prediction import EvidencePicture, NetworkPrediction
from cspine.classification.saliency import EvidenceField, view_evidence
from cspine.core.anatomy import VERTEBRAE
from cspine.core.findings import CalibrationIdentity, WeightsIdentity
from cspine.core.typing import Bools, Floats, Floats32, Indices
from cspine.localization.compiler import Compiler
from cspine.localization.loading import find_localizer
from cspine.localization.localizer import Localizer
from cspine.metrics.calibration import calibrate_cases
from cspine.metrics.rsna2022 import remove_positive_weight
from cspine.models.metadata import LevelsMetadata
from cspine.models.onnx_runtime import Session
from cspine.models.operating_points import OperatingPointsFile
from cspine.models.providers import ProviderName
from cspine.models.weights import load_weights
from cspine.views.compiled import CompiledStudy, CompiledVolume
from cspine.views.level_views import CHANNELS, PLANES, LevelViews, view_geometry, view_indices


@dataclass(frozen=True)
class LevelScores:
    """The uncalibrated predictions of one case.

    Attributes
    ----------
    levels : (7,) float
        Probability of a fracture of C1 to C7, without the training's weight of positives; NaN where absent.
    overall : float
        Probability of any fracture.
    fracture_types : (7, types) float
        Probability of each fracture type.
    evidence : (7, views, 3, rows / 8, columns / 8) float32
        Saliency map of each plane of the inference views.
    bridged : LevelScores or None
        The predictions with the evidence in bridged gaps, which the others do without; None without such gaps.
    """

    levels: Floats
    overall: float
    fracture_types: Floats
    evidence: Floats32
    bridged: "LevelScores | None" = None


@dataclass(frozen=True)
class LevelClassifier:
    """A level network, or an ensemble of several, with the localizer of their vertebrae.

    Attributes
    ----------
    members : tuple of Weights
        The networks; the predictions of several are averaged (`cspine.classification.ensemble`).
    localizer : Localizer
        Localizes the vertebrae whose views are classified.
    tta : bool
        Test-time augmentation: whether predictions are averaged with those of the left-right flip.
    points_file : OperatingPointsFile or None
        Operating points and recalibration that are used in place of the weights' own.
    """

    members: Members
    localizer: Localizer
    tta: bool = False
    points_file: OperatingPointsFile | None = None

    @classmethod
    def load(
        cls,
        *paths: Path | None,
        localizer: Localizer | None = None,
        tta: bool = False,
        provider: ProviderName | None = None,
    ) -> "LevelClassifier":
        """Load a network, or an ensemble.

        Parameters
        ----------
        *paths : Path or None
            ONNX files of the members; None, or no path at all, for the embedded weights.
        localizer : Localizer, optional
            Localizes the vertebrae; where omitted, the registered localizer that the weights were trained with, or the
            embedded one.
        tta : bool
            Whether to use test-time augmentation by the left-right flip.
        provider : str, optional
            The execution provider, as of `cspine.models.providers.requested_provider`.

        Raises
        ------
        WeightsError
            A file cannot be used, or the networks cannot be averaged.
        """
        members = tuple(load_weights(LevelsMetadata, path, provider=provider) for path in paths or (None,))
        require_ensemble(members, paths or (None,))
        localizer = localizer or find_localizer(members[0].metadata.localizer_sha256, provider)
        return cls(members, localizer, tta)

    @property
    def session(self) -> Session:
        """The session that runs the network; of an ensemble, the first member."""
        return self.members[0].session

    @property
    def metadata(self) -> LevelsMetadata:
        """The metadata of the weights; of an ensemble, those of the first member."""
        return self.members[0].metadata

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record of the weights."""
        return ensemble_identity(self.members)

    @property
    def calibration(self) -> CalibrationIdentity:
        """What findings record of the calibration and of the operating points."""
        metadata, file = self.metadata, self.points_file
        identity = CalibrationIdentity(
            fitted_on=metadata.calibration_data, prevalence=metadata.calibration_prevalence, points=metadata.thresholds
        )
        if file is None:
            return identity
        update = {
            "points": file.thresholds,
            "points_sha256": file.sha256,
            "points_chosen_on": file.content.chosen_on,
            **(file.content.recalibration.model_dump() if file.content.recalibration else {}),
        }
        return CalibrationIdentity.model_validate({**dict(identity), **update})

    @property
    def compiler(self) -> Compiler:
        """The compiler of its input."""
        return Compiler(self.metadata.images, self.localizer, inference_views=self.metadata.inference_views)

    def predict(self, compiled: CompiledStudy) -> NetworkPrediction:
        """Predict the findings of a compiled study, with the evidence for them."""
        levels = tuple(views.compress() for views in compiled.images.levels)
        scores = self.predict_scores(levels)
        calibrated, overall = self.calibrate(scores)
        bridged, bridged_overall = self.calibrate(scores.bridged or scores)
        views_of, points = {views.level: views for views in levels}, self.calibration.points
        vertebrae, pictures = [], []
        fields: dict[str, EvidenceField] = {}
        for number, level in enumerate(VERTEBRAE):
            if level not in views_of:
                vertebrae.append(absent_finding(compiled.images, level))
                continue
            evidence = self._pictures(views_of[level], scores.evidence[number], compiled)
            vertebrae.append(
                vertebra_finding(
                    self.metadata,
                    level,
                    compiled.images,
                    points=points,
                    probabilities=Probabilities(
                        float(calibrated[number]), float(scores.levels[number]), float(bridged[number])
                    ),
                    fracture_types=scores.fracture_types[number],
                    pictures=evidence,
                )
            )
            pictures += evidence
            fields[level] = self._field(views_of[level], scores.evidence[number])
        patient = patient_finding(
            points,
            probability=overall,
            raw_probability=scores.overall,
            vertebrae=vertebrae,
            bridged_probability=bridged_overall,
            n_lost_files=compiled.images.n_lost_files,
        )
        return NetworkPrediction(patient, tuple(vertebrae), self._warnings(), tuple(pictures), fields)

    def predict_probabilities(self, images: CompiledVolume) -> Floats:
        """Return the calibrated probabilities of a compiled volume, (8,): patient, then C1 to C7, NaN where absent."""
        levels, overall = self.calibrate(self.predict_scores(tuple(views.compress() for views in images.levels)))
        return np.array([overall, *levels.tolist()])

    def predict_scores(self, levels: tuple[LevelViews, ...]) -> LevelScores:
        """Return the uncalibrated predictions of a case.

        Parameters
        ----------
        levels : tuple of LevelViews
            The views of its vertebrae as read from a compiled data set (`LevelViews.compress`), as in training.

        Evidence in bridged gaps does not count (`cspine.classification.bridged_evidence`).
        """
        output = self._run_networks(levels)
        present = np.isin(VERTEBRAE, [views.level for views in levels])
        if all(views.gaps is None for views in levels):
            return self._scores(output, present)
        limited = discount_bridged_evidence(output, levels, self._view_indices, self._run_networks)
        return replace(self._scores(limited, present), bridged=self._scores(output, present))

    def _run_networks(self, levels: tuple[LevelViews, ...]) -> NetworkOutput:
        """Return the networks' averaged output for the views of a case."""
        settings = self.metadata.views
        orientations, offsets_mm = view_geometry(settings)
        shape = (len(VERTEBRAE), len(self._view_indices), CHANNELS, settings.pixels, settings.pixels)
        images, present = np.zeros(shape, np.float32), np.zeros(len(VERTEBRAE), np.bool_)
        for views in levels:
            number = VERTEBRAE.index(views.level)
            present[number] = True
            np.divide(views.views[self._view_indices], np.float32(settings.max_gray), out=images[number])
        case = NetworkInput(images, orientations[self._view_indices], offsets_mm[self._view_indices], present)
        return predict_ensemble(self.members, case, tta=self.tta)

    def _scores(self, output: NetworkOutput, present: Bools) -> LevelScores:
        """Return the network's output without the training's weight of positives."""
        weight = self.metadata.positive_weight
        probabilities = remove_positive_weight(output.levels, positive_weight=weight)
        return LevelScores(
            levels=np.where(present, probabilities, np.nan),
            overall=float(remove_positive_weight(output.overall, positive_weight=weight)),
            fracture_types=output.fracture_types,
            evidence=output.evidence.astype(np.float32),
        )

    def calibrate(self, scores: LevelScores) -> tuple[Floats, float]:
        """Return the calibrated probabilities of C1 to C7, (7,) with NaN where absent, and of the patient."""
        level, overall = self.metadata.calibration_level, self.metadata.calibration_overall
        of_levels, of_patient = calibrate_cases(level, overall, scores.levels, scores.overall)
        if self.points_file is not None and self.points_file.content.recalibration is not None:
            of_levels, of_patient = self.points_file.content.recalibration.apply(of_levels, of_patient)
        return of_levels, float(of_patient)

    def strongest_plane(self, evidence: Floats32, is_candidate: Bools | None = None) -> tuple[int, Floats32]:
        """Return the plane with the greatest saliency of a vertebra.

        Parameters
        ----------
        evidence : (views, 3, rows / 8, columns / 8)
            The vertebra's saliency maps, from `LevelScores`.
        is_candidate : (views,) bool, optional
            Which of the inference views are considered; all where omitted.

        Returns
        -------
        plane : int
            Index of the plane in `LevelViews.images`.
        saliency : (rows / 8, columns / 8)
            Saliency map of the plane, one value per cell of 8 x 8 pixels.
        """
        peaks = evidence.max(axis=(2, 3))
        if is_candidate is not None:
            peaks[~is_candidate] = -1.0
        view, channel = divmod(int(peaks.argmax()), CHANNELS)
        return CHANNELS * int(self._view_indices[view]) + channel, evidence[view, channel]

    @property
    def _view_indices(self) -> Indices:
        """The indices of the inference views among all views."""
        return view_indices(self.metadata.views, self.metadata.inference_views)

    def _field(self, views: LevelViews, evidence: Floats32) -> EvidenceField:
        """Return the saliency maps of all planes of the inference views."""
        planes = (CHANNELS * self._view_indices[:, None] + np.arange(CHANNELS)).ravel()
        return EvidenceField(views, planes, evidence.reshape(-1, *evidence.shape[2:]))

    def _pictures(self, views: LevelViews, evidence: Floats32, compiled: CompiledStudy) -> list[EvidencePicture]:
        """Return the plane with the greatest saliency of each orientation, the strongest first."""
        orientations = view_geometry(self.metadata.views)[0][self._view_indices]
        pictures = []
        for orientation in range(len(PLANES)):
            if (orientations == orientation).any():
                plane, saliency = self.strongest_plane(evidence, orientations == orientation)
                strongest = view_evidence(views, plane, saliency, compiled.series)
                gray = views.images[plane] / (self.metadata.views.max_gray / 255.0)
                pictures.append(EvidencePicture(views.level, strongest, gray.astype(np.uint8), saliency))
        return sorted(pictures, key=lambda picture: -picture.evidence.strength)

    def _warnings(self) -> tuple[str, ...]:
        warnings = []
        if self.localizer.sha256 not in {self.metadata.localizer_sha256, *self.metadata.evaluated_localizers}:
            warnings.append("the vertebrae were localized by another localizer than in the training of the weights")
        if self.metadata.calibration_underpowered:
            warnings.append("not all probabilities are calibrated: too few patients were held out of training")
        if self.points_file is not None:
            warnings += self.points_file.warnings(tta=self.tta)
        return tuple(warnings)

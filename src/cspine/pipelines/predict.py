"""Predict: one study in, findings out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import cspine
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.loading import load_classifier
from cspine.classification.prediction import Classifier, synthetic_data_warning
from cspine.classification.result import CaseResult
from cspine.core.errors import InputError, NotAssessableError, SourceError
from cspine.core.findings import (
    MAX_HEADER_TEXT_LENGTH,
    Acquisition,
    Findings,
    NotAssessable,
    SoftwareIdentity,
    WeightsIdentity,
)
from cspine.core.not_assessable import not_assessable_from
from cspine.core.progress import Progress, silent
from cspine.core.text import sanitize_text
from cspine.dicom.limits import MAX_GAP_MM, MAX_SLICE_SPACING_MM
from cspine.localization.compiler import Compiler, compile_study
from cspine.localization.localizer import Localizer
from cspine.localization.series_choice import choose_series
from cspine.models.memory import freed_memory_released
from cspine.models.operating_points import find_operating_points
from cspine.models.providers import ProviderName
from cspine.models.registry import DEFAULT
from cspine.views.compiled import CompiledStudy

if TYPE_CHECKING:
    from cspine.dicom.loading import LoadPlan
    from cspine.dicom.series import Series, Study
    from cspine.dicom.study_collection import StudySource
    from cspine.localization.segmented.study_files import SegmentationFiles

_LOGGER: Final = logging.getLogger(__name__)


class Detector:
    """Predicts fractures with one set of weights: localizes the vertebrae of a study and classifies each.

    Parameters
    ----------
    classifier : Classifier
        The network, or the ensemble of networks, with its metadata; `Detector.load` makes one.

    Examples
    --------
    >>> detector = Detector.load()
    >>> detector.classifier.identity.name
    'levels'
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._compiler = classifier.compiler

    @classmethod
    def load(
        cls,
        *weights: str | Path,
        localizer: str | None = None,
        tta: bool = False,
        operating_points: str | Path | None = None,
        provider: ProviderName | None = None,
    ) -> Self:
        """Load weights and make a detector.

        Parameters
        ----------
        *weights : str or Path
            ONNX files, or names of registered weights (`cspine weights` lists them); the embedded ``levels``
            where omitted. The probabilities of several level classifiers are averaged (an ensemble).
        localizer : str, optional
            A localizer's name or ONNX file; the one that the classifier was trained with where omitted.
        tta : bool
            Test-time augmentation: level classifiers also predict the left-right flipped views, and the two
            predictions are averaged.
        operating_points : str or Path, optional
            A file of operating points, such as that of `cspine calibrate`, or ``"weights"`` for those of the weights;
            where omitted, the file that ``$CSPINE_OPERATING_POINTS`` names, or else those of the weights.
        provider : str, optional
            Execution provider of ONNX Runtime: ``cpu``, ``cuda``, ``directml``, ``coreml``, ``openvino``, or ``auto``
            for the first of them that is there; where omitted, what ``$CSPINE_PROVIDER`` names, or else the CPU.

        Returns
        -------
        Detector

        Raises
        ------
        InputError
            The installed ONNX Runtime has no such execution provider.
        WeightsError
            The weights cannot be used, or the operating points are for others.
        LabelError
            The file holds no operating points.
        """
        file = find_operating_points(operating_points)
        names = weights or (DEFAULT,)
        return cls(load_classifier(*names, localizer=localizer, tta=tta, points_file=file, provider=provider))

    @property
    def tta(self) -> bool:
        """Whether test-time augmentation is used."""
        return isinstance(self.classifier, LevelClassifier) and self.classifier.tta

    @property
    def localizer(self) -> WeightsIdentity | None:
        """Identity of the localizer's weights; None where the classifier needs no localization."""
        localizer = self._compiler.localizer
        return localizer.weights.identity if isinstance(localizer, Localizer) else None

    def predict(
        self,
        path: str | Path,
        *,
        vertebrae: str | Path | None = None,
        vertebrae_labels: str = "auto",
        progress: Progress = silent,
    ) -> Findings:
        """Predict the one study at a path.

        Parameters
        ----------
        path : str or Path
            A folder, a zip, a DICOMDIR or a file that holds one study.
        vertebrae : str or Path, optional
            A segmentation that takes the localizer's place: NIfTI, DICOM SEG, or a folder with one file for each
            vertebra or study.
        vertebrae_labels : str
            Which values of the segmentation are which vertebrae, one of
            `cspine.localization.segmented.numbering.NUMBERINGS`.
        progress : Progress
            Called with the number of headers read and of slices decoded.

        Returns
        -------
        Findings
            With eight probabilities, or with ``not_assessable`` and none.

        Raises
        ------
        SourceError, ArchiveError
            There is nothing readable, or more than one study; or the segmentation does not exist.
        """
        from cspine.dicom.study_collection import open_collection  # noqa: PLC0415 - loading needs no DICOM

        studies = open_collection(path, progress=progress).studies
        if len(studies) > 1:
            raise SourceError(f"{path}: holds {len(studies)} studies; give the folder of one, or use predict_all")
        files = _open_segmentations(vertebrae, vertebrae_labels, 1)
        return self.predict_case(studies[0], vertebrae=files, progress=progress).findings

    def predict_all(
        self,
        path: str | Path,
        *,
        vertebrae: str | Path | None = None,
        vertebrae_labels: str = "auto",
        progress: Progress = silent,
    ) -> Iterator[CaseResult]:
        """Predict every study at a path, one after the other; parameters and errors are those of `predict`."""
        from cspine.dicom.study_collection import open_collection  # noqa: PLC0415 - loading needs no DICOM

        studies = open_collection(path, progress=progress).studies
        files = _open_segmentations(vertebrae, vertebrae_labels, len(studies))
        for source in studies:
            yield self.predict_case(source, vertebrae=files, progress=progress)

    @freed_memory_released()
    def predict_case(
        self,
        source: StudySource,
        *,
        series_uid: str | None = None,
        max_gap_mm: float = MAX_GAP_MM,
        vertebrae: SegmentationFiles | None = None,
        progress: Progress = silent,
    ) -> CaseResult:
        """Predict one study and keep its compiled images and the network's output beside the findings.

        Parameters
        ----------
        source : StudySource
            A study of `cspine.dicom.study_collection.open_collection`.
        series_uid : str, optional
            Read the series with this SeriesInstanceUID instead of the best one.
        max_gap_mm : float
            Largest gap between slices that is interpolated, in mm, where gaps are uneven.
        vertebrae : SegmentationFiles, optional
            Segmentations of which the study's takes the localizer's place.
        progress : Progress
            Called with the number of slices decoded.

        Returns
        -------
        CaseResult
            Of a study that cannot be read or assessed, the findings say why and hold no probabilities.
        """
        from cspine.dicom.loading import LoadPolicy, open_series, read_first  # noqa: PLC0415 - loading needs no DICOM

        uid, study, plan = source.study_instance_uid, None, None
        compiler = replace(self._compiler, segmentations=vertebrae).for_study(uid)
        try:
            study = source.open(progress=progress)
            uid = study.study_instance_uid
            plan = open_series(study, LoadPolicy(series_uid, max_gap_mm, MAX_SLICE_SPACING_MM))
            plan = choose_series(plan, compiler.localizer)
            plan, compiled = read_first(
                plan, lambda plan: compile_study(plan, compiler, keeps_bone=True, progress=progress)
            )
        except (NotAssessableError, InputError) as error:
            reason = not_assessable_from(error)
            _LOGGER.info("a study is not assessable: %s", reason.code)
            warnings = plan.warnings if plan else study.warnings if study else ()
            findings = self._not_assessable(uid, plan, reason, warnings)
            return CaseResult(_with_localizer(findings, compiler), None, None, _any_series(study, plan))
        _LOGGER.info("compiled %d slices with %d repairs", len(plan.series.stack.order), len(compiled.warnings))
        result = self._classify(uid, plan, compiled)
        result = replace(result, findings=_with_localizer(result.findings, compiler))
        _LOGGER.info("predicted a study: %d levels suspicious", len(result.findings.suspicious))
        return result

    def not_assessable(self, uid: str, code: str, reason: str) -> Findings:
        """Return the findings of a study that cannot be assessed for a reason outside of it, such as a crash.

        Parameters
        ----------
        uid : str
            StudyInstanceUID of the study.
        code : str
            A fixed word for programs.
        reason : str
            One sentence for people.
        """
        return self._not_assessable(uid, None, NotAssessable(code=code, reason=reason))

    def _classify(self, uid: str, plan: LoadPlan, compiled: CompiledStudy) -> CaseResult:
        prediction = self.classifier.predict(compiled)
        findings = Findings(
            study_instance_uid=uid,
            series_instance_uid=compiled.series.series_instance_uid,
            series_reasons=_reasons(plan),
            acquisition=_acquisition(plan),
            patient_overall=prediction.patient,
            vertebrae=prediction.vertebrae,
            warnings=(*self._weights_warning(), *prediction.warnings, *compiled.warnings),
            test_time_augmentation=self.tta,
            software=SoftwareIdentity(version=cspine.__version__),
            weights=self.classifier.identity,
            localizer=self.localizer,
            calibration=self.classifier.calibration,
        )
        return CaseResult(findings, compiled, prediction, compiled.series)

    def _not_assessable(
        self, uid: str, plan: LoadPlan | None, reason: NotAssessable, warnings: tuple[str, ...] = ()
    ) -> Findings:
        return Findings(
            study_instance_uid=uid,
            series_instance_uid=plan.series.series_instance_uid if plan else None,
            series_reasons=_reasons(plan) if plan else (),
            acquisition=_acquisition(plan) if plan else None,
            warnings=(*self._weights_warning(), *warnings),
            not_assessable=reason,
            software=SoftwareIdentity(version=cspine.__version__),
            weights=self.classifier.identity,
            localizer=self.localizer,
        )

    def _weights_warning(self) -> tuple[str, ...]:
        synthetic = synthetic_data_warning(self.classifier.identity, self.localizer)
        return (*synthetic, *self.classifier.session.fallback_warning)


def _open_segmentations(path: str | Path | None, numbering: str, n_studies: int) -> SegmentationFiles | None:
    """Return the segmentations that a user named, or None."""
    from cspine.localization.segmented.study_files import SegmentationFiles  # noqa: PLC0415 - only on request

    return None if path is None else SegmentationFiles.open(path, numbering, n_studies=n_studies)


def _with_localizer(findings: Findings, compiler: Compiler) -> Findings:
    """Return findings that name the segmentation in the localizer's place, where there is one."""
    if compiler.segmentations is None or compiler.localizer is None:
        return findings
    identity = compiler.localizer.identity
    warning = (
        f"the vertebrae come from a segmentation (SHA-256 {identity.sha256[:12]}), not from the localizer that the "
        "weights were trained with"
    )
    return findings.model_copy(update={"localizer": identity, "warnings": (*findings.warnings, warning)})


def _any_series(study: Study | None, plan: LoadPlan | None) -> Series | None:
    """Return the series that a study's result refers to: the selected one, or else the one with the most images."""
    if plan is not None:
        return plan.series
    return max(study.series, key=lambda series: len(series.headers)) if study is not None else None


def _reasons(plan: LoadPlan) -> tuple[str, ...]:
    """Return why the series was selected."""
    return plan.selection.reasons


def _acquisition(plan: LoadPlan) -> Acquisition:
    """Return how the selected series was acquired, as far as its headers say."""
    first, stack = plan.series.headers[0], plan.series.stack
    return Acquisition(
        manufacturer=_short(first.manufacturer),
        kernel=_short(first.kernel),
        slices=len(stack.order),
        slice_spacing_mm=_length(stack.spacing_mm),
        slice_thickness_mm=_length(first.slice_thickness_mm),
        pixel_spacing_mm=_length(stack.pixel_spacing_mm[0]),
    )


def _short(text: str | None) -> str | None:
    """Return a header's text, safe to show."""
    return sanitize_text(text, MAX_HEADER_TEXT_LENGTH) if text else None


def _length(value_mm: float | None) -> float | None:
    """Return a length rounded to 0.1 um; None of what is no length, as hostile headers may have it."""
    return round(float(value_mm), 4) if value_mm is not None and 0.0 < value_mm < float("inf") else None

"""A study in, findings out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from cspine import __version__
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.loading import load_classifier
from cspine.classification.prediction import Classifier, phantom_only_warning
from cspine.classification.result import CaseResult
from cspine.core.errors import InputError, NotAssessableError, SourceError
from cspine.core.findings import (
    ACQUISITION_WORDS,
    Acquisition,
    Findings,
    NotAssessable,
    SoftwareIdentity,
    WeightsIdentity,
)
from cspine.core.not_assessable import not_assessable_from
from cspine.core.progress import Progress, silent
from cspine.core.text import sanitize_text
from cspine.dicom.geometry import MAX_GAP_MM
from cspine.dicom.open_series import MAX_SLICE_SPACING_MM, LoadPolicy, open_series
from cspine.dicom.series_selection import SeriesChoice
from cspine.dicom.study_collection import StudySource, open_collection
from cspine.localization.compiler import compile_study
from cspine.localization.localizer import Localizer
from cspine.models.registry import DEFAULT
from cspine.views.compiled import CompiledStudy


class Detector:
    """Reads studies with one set of weights."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._compiler = classifier.compiler

    @classmethod
    def load(cls, *weights: str | Path, localizer: str | None = None, tta: bool = False) -> Self:
        """Load a detector.

        Parameters
        ----------
        *weights : str or Path
            A file, or the name of weights at hand (`cspine weights` lists them); the embedded phantom-trained ones
            where omitted. The answers of several level networks are averaged.
        localizer : str, optional
            A localizer's name or file; the one that the weights were trained with where omitted.
        tta : bool
            Whether level networks look at necks in a mirror too.

        Raises
        ------
        WeightsError
            The weights cannot be used.
        """
        return cls(load_classifier(*(weights or (DEFAULT,)), localizer=localizer, tta=tta))

    @property
    def tta(self) -> bool:
        """Whether necks are looked at in a mirror too."""
        return isinstance(self.classifier, LevelClassifier) and self.classifier.tta

    @property
    def localizer(self) -> WeightsIdentity | None:
        """What findings say of the weights that find vertebrae; None where none does."""
        localizer = self._compiler.localizer
        return localizer.weights.identity if isinstance(localizer, Localizer) else None

    def predict(self, path: str | Path, *, progress: Progress = silent) -> Findings:
        """Read the one study at `path`.

        Raises
        ------
        SourceError, ArchiveError
            Nothing readable is there, or more than one study.
        """
        studies = open_collection(Path(path), progress=progress).studies
        if len(studies) > 1:
            raise SourceError(f"{path}: holds {len(studies)} studies; give the folder of one, or use examine_all")
        return self.predict_case(studies[0], progress=progress).findings

    def predict_all(self, path: str | Path, *, progress: Progress = silent) -> Iterator[CaseResult]:
        """Read every study at `path`, one after the other; raises as `read` does where there is none."""
        for source in open_collection(Path(path), progress=progress).studies:
            yield self.predict_case(source, progress=progress)

    def predict_case(
        self,
        source: StudySource,
        *,
        series_uid: str | None = None,
        max_gap_mm: float = MAX_GAP_MM,
        progress: Progress = silent,
    ) -> CaseResult:
        """Read one study, and keep what the findings come from.

        Parameters
        ----------
        source : StudySource
            Of `cspine.dicom.study_collection.open_collection`.
        series_uid : str, optional
            Read this series instead of the best.
        max_gap_mm : float
            The widest gap between slices that is bridged where gaps are uneven.
        progress : Progress
            Told about decoding.

        Returns
        -------
        Examination
            A study that cannot be read or judged has findings with a refusal.
        """
        uid = source.study_instance_uid
        plan = None
        try:
            study = source.open(progress=progress)
            uid = study.study_instance_uid
            plan = open_series(study, LoadPolicy(series_uid, max_gap_mm, MAX_SLICE_SPACING_MM))
            compiled = compile_study(plan, self._compiler, progress=progress)
        except (NotAssessableError, InputError) as error:
            return self._not_assessable(uid, plan.choice if plan else None, not_assessable_from(error))
        return self._read(uid, compiled)

    def _read(self, uid: str, compiled: CompiledStudy) -> CaseResult:
        reading = self.classifier.predict(compiled)
        findings = Findings(
            study_instance_uid=uid,
            series_instance_uid=compiled.series.series_instance_uid,
            series_reasons=compiled.choice.reasons,
            acquisition=_acquisition(compiled.choice),
            patient_overall=reading.patient,
            vertebrae=reading.vertebrae,
            warnings=(*self._about_weights(), *reading.warnings, *compiled.warnings),
            test_time_augmentation=self.tta,
            software=SoftwareIdentity(version=__version__),
            weights=self.classifier.identity,
            localizer=self.localizer,
            calibration=self.classifier.calibration,
        )
        return CaseResult(findings, compiled, reading)

    def refusal(self, uid: str, code: str, reason: str) -> Findings:
        """Return the findings of a study that could not be read for a reason that lies outside of it."""
        return self._not_assessable(uid, None, NotAssessable(code=code, reason=reason)).findings

    def _not_assessable(self, uid: str, choice: SeriesChoice | None, refusal: NotAssessable) -> CaseResult:
        findings = Findings(
            study_instance_uid=uid,
            series_instance_uid=choice.chosen.series_instance_uid if choice else None,
            series_reasons=choice.reasons if choice else (),
            acquisition=_acquisition(choice) if choice else None,
            warnings=self._about_weights(),
            not_assessable=refusal,
            software=SoftwareIdentity(version=__version__),
            weights=self.classifier.identity,
            localizer=self.localizer,
        )
        return CaseResult(findings, None, None)

    def _about_weights(self) -> tuple[str, ...]:
        return phantom_only_warning(self.classifier.identity, self.localizer)


def _acquisition(choice: SeriesChoice) -> Acquisition:
    """Return how the chosen series was made."""
    first, stack = choice.chosen.headers[0], choice.chosen.stack
    return Acquisition(
        manufacturer=_short(first.manufacturer),
        kernel=_short(first.kernel),
        slices=len(stack.order),
        slice_spacing_mm=_length(stack.spacing_mm),
        slice_thickness_mm=_length(first.slice_thickness_mm),
        pixel_spacing_mm=_length(stack.pixel_spacing_mm[0]),
    )


def _short(text: str | None) -> str | None:
    """Return a header's words, fit to be shown."""
    return sanitize_text(text, ACQUISITION_WORDS) if text else None


def _length(value_mm: float | None) -> float | None:
    """Return a length to the tenth of a micrometre; None of what is none, as hostile headers have it."""
    return round(float(value_mm), 4) if value_mm is not None and 0.0 < value_mm < float("inf") else None

"""A study in, findings out."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from cspine import __version__
from cspine.anatomy import VERTEBRAE
from cspine.detect.baseline import Baseline
from cspine.detect.classify import image_probabilities, study_probabilities
from cspine.detect.refusals import refusal_of
from cspine.errors import InputError, NotAssessableError, SourceError
from cspine.findings import Findings, PatientFinding, Refusal, SagittalEvidence, SoftwareIdentity, VertebraFinding
from cspine.imaging.geometry import MAX_GAP_MM
from cspine.imaging.layout import StudySource, open_root
from cspine.progress import Progress, silent
from cspine.reformat.study import THICK_MM, CompiledStudy, Compiler, compile_study

NOT_LOCALISED: Final = (
    "these weights do not localise vertebrae: whether C1 to C7 are in the field of view was not checked"
)


@dataclass(frozen=True)
class Examination:
    """A study's findings, with what they were read from.

    Attributes
    ----------
    compiled : CompiledStudy or None
        None where the study could not be compiled.
    jpegs : tuple of bytes
        The compiled images as the network saw them.
    probabilities : (n, 8) float or None
        Per image, columns `TARGETS`; None where the study is refused.
    """

    findings: Findings
    compiled: CompiledStudy | None
    jpegs: tuple[bytes, ...]
    probabilities: npt.NDArray[np.float64] | None


class Detector:
    """Reads studies with one set of weights."""

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline

    @classmethod
    def load(cls, weights: str | Path | None = None) -> Self:
        """Load a detector; with the embedded phantom-trained weights where none are named.

        Raises
        ------
        WeightsError
            The weights cannot be used.
        """
        return cls(Baseline.load(Path(weights) if weights is not None else None))

    def read(self, path: str | Path, *, progress: Progress = silent) -> Findings:
        """Read the one study at `path`.

        Raises
        ------
        SourceError, ArchiveError
            Nothing readable is there, or more than one study.
        """
        studies = open_root(Path(path), progress=progress).studies
        if len(studies) > 1:
            raise SourceError(f"{path}: holds {len(studies)} studies; give the folder of one, or use examine_all")
        return self.examine(studies[0], progress=progress).findings

    def examine_all(self, path: str | Path, *, progress: Progress = silent) -> Iterator[Examination]:
        """Read every study at `path`, one after the other; raises as `read` does where there is none."""
        for source in open_root(Path(path), progress=progress).studies:
            yield self.examine(source, progress=progress)

    def examine(
        self,
        source: StudySource,
        *,
        series_uid: str | None = None,
        max_gap_mm: float = MAX_GAP_MM,
        progress: Progress = silent,
    ) -> Examination:
        """Read one study, and keep what the findings come from.

        Parameters
        ----------
        source : StudySource
            Of `cspine.imaging.layout.open_root`.
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
        compiled = None
        try:
            study = source.open(progress=progress)
            uid = study.study_instance_uid
            compiled = compile_study(
                study,
                Compiler(self.baseline.card.images),
                series_uid=series_uid,
                max_gap_mm=max_gap_mm,
                progress=progress,
            )
            _refuse_thick(compiled)
        except (NotAssessableError, InputError) as error:
            return self._refused(uid, compiled, refusal_of(error))
        return self._classified(uid, compiled)

    def _classified(self, uid: str, compiled: CompiledStudy) -> Examination:
        settings = self.baseline.card.sagittal
        jpegs = tuple(compiled.sagittal.jpegs(settings.jpeg_quality))
        images = np.stack([np.asarray(Image.open(BytesIO(data))) for data in jpegs])  # as the network was trained
        per_image = image_probabilities(self.baseline, images)
        overall, *levels = study_probabilities(per_image).tolist()
        strongest = per_image[:, 1:].argmax(axis=0)
        vertebrae = tuple(
            VertebraFinding(
                level=level,
                probability=probability,
                evidence=(
                    SagittalEvidence(
                        image=int(image),
                        x_lps_mm=float(compiled.sagittal.x_lps_mm[image]),
                        probability=float(per_image[image, 1 + number]),
                    ),
                ),
                reasons=("not localised by these weights",),
            )
            for number, (level, probability, image) in enumerate(zip(VERTEBRAE, levels, strongest, strict=True))
        )
        findings = Findings(
            study_instance_uid=uid,
            series_instance_uid=compiled.series.series_instance_uid,
            series_reasons=compiled.choice.reasons,
            patient_overall=PatientFinding(probability=overall),
            vertebrae=vertebrae,
            warnings=(*self._about_weights(), NOT_LOCALISED, *compiled.warnings),
            software=SoftwareIdentity(version=__version__),
            weights=self.baseline.weights.identity,
        )
        return Examination(findings, compiled, jpegs, per_image)

    def _refused(self, uid: str, compiled: CompiledStudy | None, refusal: Refusal) -> Examination:
        findings = Findings(
            study_instance_uid=uid,
            series_instance_uid=compiled.series.series_instance_uid if compiled else None,
            series_reasons=compiled.choice.reasons if compiled else (),
            warnings=compiled.warnings if compiled else (),
            refused=refusal,
            software=SoftwareIdentity(version=__version__),
            weights=self.baseline.weights.identity,
        )
        jpegs = tuple(compiled.sagittal.jpegs(self.baseline.card.sagittal.jpeg_quality)) if compiled else ()
        return Examination(findings, compiled, jpegs, None)

    def _about_weights(self) -> tuple[str, ...]:
        if not self.baseline.card.phantom_only:
            return ()
        return ("the weights have seen phantoms only: the numbers show that the machinery works, nothing clinical",)


def _refuse_thick(compiled: CompiledStudy) -> None:
    """Refuse slices between which a fracture hides.

    Raises
    ------
    NotAssessableError
        ``too-thick``.
    """
    stack = compiled.stack
    if stack.spacing_mm > THICK_MM:
        raise NotAssessableError(
            "too-thick",
            f"the best series has slices {stack.spacing_mm:.1f} mm apart; at most {THICK_MM:.0f} mm can be judged, "
            "send the thin reconstruction",
        )

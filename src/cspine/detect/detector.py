"""A study in, findings out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cspine import __version__
from cspine.detect.level_reader import LevelReader
from cspine.detect.localize import Localizer
from cspine.detect.readers import load_reader
from cspine.detect.reading import Reader, Reading, about_weights
from cspine.detect.refusals import refusal_of
from cspine.errors import InputError, NotAssessableError, SourceError
from cspine.findings import ACQUISITION_WORDS, Acquisition, Findings, Refusal, SoftwareIdentity, WeightsIdentity
from cspine.imaging.choice import SeriesChoice, choose_series
from cspine.imaging.geometry import MAX_GAP_MM
from cspine.imaging.layout import StudySource, open_root
from cspine.imaging.loadable import check_loadable
from cspine.printable import printable
from cspine.progress import Progress, silent
from cspine.reformat.study import THICK_MM, CompiledStudy, compile_choice

DEFAULT: Final = "levels"
"""The weights that are used where none are named."""


@dataclass(frozen=True)
class Examination:
    """A study's findings, with what they were read from.

    Attributes
    ----------
    compiled : CompiledStudy or None
        None where the study could not be compiled.
    reading : Reading or None
        What the network said; None where the study is refused.
    """

    findings: Findings
    compiled: CompiledStudy | None
    reading: Reading | None


class Detector:
    """Reads studies with one set of weights."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._compiler = reader.compiler

    @classmethod
    def load(cls, *weights: str | Path, localizer: str | None = None, flips: bool = False) -> Self:
        """Load a detector.

        Parameters
        ----------
        *weights : str or Path
            A file, or the name of weights at hand (`cspine weights` lists them); the embedded phantom-trained ones
            where omitted. The answers of several level networks are averaged.
        localizer : str, optional
            A localizer's name or file; the one that the weights were trained with where omitted.
        flips : bool
            Whether level networks look at necks in a mirror too.

        Raises
        ------
        WeightsError
            The weights cannot be used.
        """
        return cls(load_reader(*(weights or (DEFAULT,)), localizer=localizer, flips=flips))

    @property
    def flips(self) -> bool:
        """Whether necks are looked at in a mirror too."""
        return isinstance(self.reader, LevelReader) and self.reader.flips

    @property
    def localizer(self) -> WeightsIdentity | None:
        """What findings say of the weights that find vertebrae; None where none does."""
        locate = self._compiler.locate
        return locate.weights.identity if isinstance(locate, Localizer) else None

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
        choice, compiled = None, None
        try:
            study = source.open(progress=progress)
            uid = study.study_instance_uid
            choice = choose_series(study, series_uid=series_uid)
            refuse_thick(choice.chosen.stack.spacing_mm)  # before missing slices, which would be asked for in vain
            check_loadable(choice.chosen, max_gap_mm=max_gap_mm)
            compiled = compile_choice(choice, self._compiler, max_gap_mm=max_gap_mm, progress=progress)
        except (NotAssessableError, InputError) as error:
            return self._refused(uid, choice, refusal_of(error))
        return self._read(uid, compiled)

    def _read(self, uid: str, compiled: CompiledStudy) -> Examination:
        reading = self.reader.read(compiled)
        findings = Findings(
            study_instance_uid=uid,
            series_instance_uid=compiled.series.series_instance_uid,
            series_reasons=compiled.choice.reasons,
            acquisition=_acquisition(compiled.choice),
            patient_overall=reading.patient,
            vertebrae=reading.vertebrae,
            warnings=(*self._about_weights(), *reading.warnings, *compiled.warnings),
            flips=self.flips,
            software=SoftwareIdentity(version=__version__),
            weights=self.reader.identity,
            localizer=self.localizer,
            calibration=self.reader.calibration,
        )
        return Examination(findings, compiled, reading)

    def refusal(self, uid: str, code: str, reason: str) -> Findings:
        """Return the findings of a study that could not be read for a reason that lies outside of it."""
        return self._refused(uid, None, Refusal(code=code, reason=reason)).findings

    def _refused(self, uid: str, choice: SeriesChoice | None, refusal: Refusal) -> Examination:
        findings = Findings(
            study_instance_uid=uid,
            series_instance_uid=choice.chosen.series_instance_uid if choice else None,
            series_reasons=choice.reasons if choice else (),
            acquisition=_acquisition(choice) if choice else None,
            warnings=self._about_weights(),
            refused=refusal,
            software=SoftwareIdentity(version=__version__),
            weights=self.reader.identity,
            localizer=self.localizer,
        )
        return Examination(findings, None, None)

    def _about_weights(self) -> tuple[str, ...]:
        return about_weights(self.reader.identity, self.localizer)


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
    return printable(text, ACQUISITION_WORDS) if text else None


def _length(value_mm: float | None) -> float | None:
    """Return a length to the tenth of a micrometre; None of what is none, as hostile headers have it."""
    return round(float(value_mm), 4) if value_mm is not None and 0.0 < value_mm < float("inf") else None


def refuse_thick(spacing_mm: float) -> None:
    """Refuse slices between which a fracture hides.

    Parameters
    ----------
    spacing_mm : float
        From slice to slice.

    Raises
    ------
    NotAssessableError
        ``too-thick``.
    """
    if spacing_mm > THICK_MM:
        raise NotAssessableError(
            "too-thick",
            f"the best series has slices {spacing_mm:.1f} mm apart; at most {THICK_MM:.0f} mm can be judged, "
            "send the thin reconstruction",
        )

"""The output folder of one predicted study: what is written, and whether an earlier run completed it."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, ValidationError

from cspine.classification.result import CaseResult
from cspine.core.errors import OUT_OF_MEMORY, InputError, OutputError, is_memory_error
from cspine.core.extras import FhirRelease
from cspine.core.files import output_errors, write_bytes, write_json, write_text
from cspine.core.findings import Findings, VertebraFinding, ViewEvidence
from cspine.core.settings import Settings, digest
from cspine.core.storage.locations import as_path
from cspine.dicom.limits import MAX_GAP_MM
from cspine.dicom.study_collection import SourceFingerprint, StudySource
from cspine.localization.segmented.numbering import Numbering
from cspine.localization.segmented.study_files import SegmentationFiles
from cspine.models.providers import ProviderName
from cspine.reports.dicom.derived_series import SegmentationType
from cspine.reports.html import write_report
from cspine.reports.images.thumbnail import draw_thumbnail
from cspine.reports.worklist import StudyResult

if TYPE_CHECKING:
    from cspine.reports.dicom.superseded import EarlierObjects

FINDINGS_FILE: Final = "findings.json"
REPORT_FILE: Final = "report.html"
FHIR_FILE: Final = "fhir.json"
THUMBNAIL_FILE: Final = "thumbnail.jpg"
FAILED_OUTPUTS_FILE: Final = "failed-outputs.txt"
"""One sentence for each requested output that could not be written; absent where all were."""

SOURCE_FILE: Final = "source.json"
"""Which files of the study were read, with which settings, and when they arrived."""

DICOM_FOLDER: Final = "dicom"

_LOGGER: Final = logging.getLogger(__name__)

Writer = Callable[[CaseResult, Path], object]


class PredictSettings(Settings):
    """How studies are predicted, and what is written of each."""

    weights: tuple[str, ...] = Field(
        (), description="Names of registered weights or ONNX files; several form an ensemble, the default where empty."
    )
    localizer: str | None = Field(
        None, description="Name or ONNX file of a localizer; the one of the weights where null."
    )
    vertebrae: str | None = Field(
        None,
        description="Segmentation in the localizer's place: a file, or a folder of files named by UID.",
    )
    vertebrae_labels: Numbering = Field("auto", description="Which values of the segmentation are which vertebrae.")
    tta: bool = Field(False, description="Whether test-time augmentation (left-right flip) is used.")
    operating_points: str | None = Field(
        None, description="File of operating points, or `weights` for those of the weights; the site's where null."
    )
    provider: ProviderName | None = Field(
        None, description="Execution provider of ONNX Runtime; that of the environment, or the CPU, where null."
    )
    series_uid: str | None = Field(None, description="Read the series with this UID instead of the best one.")
    max_gap_mm: float = Field(MAX_GAP_MM, gt=0.0, description="Largest gap between slices that is interpolated, mm.")
    dicom: bool = Field(False, description="Whether DICOM objects are written.")
    segmentation_type: SegmentationType = Field("labelmap", description="Encoding of the vertebrae's DICOM SEG.")
    supersedes: str | None = Field(
        None, description="Folder with earlier DICOM results, which rejection notes list where the answer changed."
    )
    fhir: bool = Field(False, description="Whether a FHIR bundle is written.")
    fhir_release: FhirRelease = Field("R5", description="Release of FHIR.")

    @property
    def segmentation_files(self) -> SegmentationFiles | None:
        """The segmentation that takes the localizer's place, or None."""
        return SegmentationFiles(as_path(self.vertebrae), self.vertebrae_labels) if self.vertebrae else None


@dataclass(frozen=True)
class CaseFolder:
    """One study and the folder that its outputs go to.

    Attributes
    ----------
    source : StudySource
        The study that is predicted into the folder.
    folder : Path
        Where its outputs go.
    settings : PredictSettings
        How it is predicted, and what is written.
    fingerprint : SourceFingerprint
        The state of its files when the run began.
    is_single : bool
        Whether it is the only study of the run; then it has no worklist and needs no thumbnail.
    earlier : EarlierObjects, optional
        Earlier DICOM results of the study, which rejection notes list where the answer changed.
    """

    source: StudySource
    folder: Path
    settings: PredictSettings
    fingerprint: SourceFingerprint
    is_single: bool = False
    earlier: "EarlierObjects | None" = None

    @property
    def key(self) -> str:
        """Hash of what the outputs depend on beside the weights: the files, how they are read, earlier results."""
        parts: list[object] = [self.fingerprint.digest, self.settings.series_uid, self.settings.max_gap_mm]
        if (files := self.settings.segmentation_files) is not None:
            parts.append(files.fingerprint(self.source.study_instance_uid))
        if self.settings.supersedes is not None:  # rejection notes are made while the results are written
            parts.append(str(as_path(self.settings.supersedes).resolve()))
        return digest(parts)

    def read(self) -> StudyResult | None:
        """Return what an earlier run wrote; None if it is incomplete, or would be predicted with other settings."""
        record = _read_source_record(self.folder)
        if record.get("job") != self.key:
            return None
        findings = _read_findings(self.folder, record)
        result = None if findings is None else self._row(findings, self._arrival_time_s(record))
        return None if result is None or result.failed_outputs else result

    def write(self, case_result: CaseResult) -> StudyResult:
        """Write all outputs; the findings come last, so that their presence means that the study is complete.

        A requested output that cannot be made does not cost the findings: it is named in `FAILED_OUTPUTS_FILE`.

        Raises
        ------
        DiskFullError, OutputError
            The folder cannot be written.
        """
        picture = None if self.is_single else draw_thumbnail(case_result)
        if picture is not None:
            write_bytes(self.folder / THUMBNAIL_FILE, picture)
        failed = [
            sentence
            for name, writer in self._writers()
            if (sentence := _try_to_write(name, writer, case_result, self.folder)) is not None
        ]
        write_lines(self.folder / FAILED_OUTPUTS_FILE, failed)
        arrived, findings = self.arrival_time_s(), case_result.findings
        text = findings.model_dump_json(indent=2) + "\n"
        record: dict[str, Any] = {"job": self.key, "arrived": arrived}
        if not self.is_single:
            record["findings_bytes"] = len(text.encode())
            record["findings"] = _without_maps(findings).model_dump(mode="json")
        with output_errors(self.folder):  # an earlier answer must not stand beside the record of this one
            (self.folder / FINDINGS_FILE).unlink(missing_ok=True)
        write_json(self.folder / SOURCE_FILE, record)
        write_report(case_result, self.folder / REPORT_FILE)
        write_text(self.folder / FINDINGS_FILE, text)
        return self._row(findings, arrived)

    def _row(self, findings: Findings, arrival_time_s: float) -> StudyResult:
        """Return the result; of many studies, none keeps its maps in memory."""
        findings = findings if self.is_single else _without_maps(findings)
        return _result(self.folder, findings, arrival_time_s, name="" if self.is_single else self.folder.name)

    def arrival_time_s(self) -> float:
        """Return when the study arrived, in seconds since 1970.

        This is the modification time of its newest file, but never later than the first run that saw it.
        """
        return self._arrival_time_s(_read_source_record(self.folder))

    def _arrival_time_s(self, record: Mapping[str, Any]) -> float:
        now = time.time()
        return min(float(record.get("arrived", now)), self.fingerprint.modified_s or now, now)

    def _writers(self) -> list[tuple[str, Writer]]:
        """Return the optional outputs that were requested; their libraries are imported only here."""
        writers: list[tuple[str, Writer]] = []
        if self.settings.dicom:
            from cspine.reports.dicom.objects import DicomOptions, write_dicom  # noqa: PLC0415 - only on request

            options = DicomOptions(self.settings.segmentation_type)
            if self.earlier is not None:
                options = replace(options, earlier=self.earlier)
            writers.append(
                ("DICOM objects", lambda result, folder: write_dicom(result, folder / DICOM_FOLDER, options))
            )
        if self.settings.fhir:
            from cspine.reports.fhir import write_fhir  # noqa: PLC0415 - only on request

            release = self.settings.fhir_release
            writers.append(("FHIR bundle", lambda result, folder: write_fhir(result, folder / FHIR_FILE, release)))
        return writers


def recorded_key(folder: Path) -> str | None:
    """Return the `CaseFolder.key` of what a run wrote into a study's folder; None where there is none."""
    key = _read_source_record(folder).get("job")
    return None if key is None else str(key)


def read_result(folder: Path) -> StudyResult | None:
    """Return the row of the worklist of a result that a run wrote into a study's folder; None where there is none.

    Its findings have no evidence, which the worklist does not show: of a hundred thousand studies it would take 5 GB.

    Parameters
    ----------
    folder : Path
        The study's folder below that of a prediction of many studies.
    """
    record = _read_source_record(folder)
    findings = _read_findings(folder, record)
    if findings is None:
        return None
    findings = _with_evidence(findings, lambda _: ())
    return _result(folder, findings, float(record.get("arrived", time.time())), name=folder.name)


def _read_findings(folder: Path, record: Mapping[str, Any]) -> Findings | None:
    """Return the findings that a run wrote; of one study of many, from its record, if the file is as it was written."""
    path = folder / FINDINGS_FILE
    try:
        if "findings" in record and path.stat().st_size == record["findings_bytes"]:
            return Findings.model_validate(record["findings"])
        return Findings.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _result(folder: Path, findings: Findings, arrival_time_s: float, *, name: str) -> StudyResult:
    """Return the study's row of the worklist, under the name of its folder in it."""
    failed = folder / FAILED_OUTPUTS_FILE
    return StudyResult(
        findings,
        name,
        arrival_time_s,
        has_thumbnail=(folder / THUMBNAIL_FILE).is_file(),
        failed_outputs=tuple(failed.read_text(encoding="utf-8").splitlines()) if failed.is_file() else (),
    )


def _without_maps(findings: Findings) -> Findings:
    """Return findings without the maps of their evidence, which are most of their size."""
    return _with_evidence(
        findings,
        lambda vertebra: tuple(
            part.model_copy(update={"saliency_map": ()}) if isinstance(part, ViewEvidence) else part
            for part in vertebra.evidence
        ),
    )


def _with_evidence(findings: Findings, evidence_of: Callable[[VertebraFinding], tuple[Any, ...]]) -> Findings:
    """Return findings with other evidence of each vertebra."""
    vertebrae = (each.model_copy(update={"evidence": evidence_of(each)}) for each in findings.vertebrae)
    return findings.model_copy(update={"vertebrae": tuple(vertebrae)})


def _read_source_record(folder: Path) -> dict[str, Any]:
    try:
        recorded: dict[str, Any] = json.loads((folder / SOURCE_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return recorded


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write one line per sentence; where there are none, remove what an earlier run wrote."""
    if lines:
        write_text(path, "\n".join(lines) + "\n")
    else:
        path.unlink(missing_ok=True)


def _try_to_write(name: str, writer: Writer, case_result: CaseResult, folder: Path) -> str | None:
    """Write one optional output; return a sentence where it cannot be made, None where it was written."""
    try:
        writer(case_result, folder)
    except OutputError:
        raise
    except Exception as error:  # noqa: BLE001 - an optional output must not cost the findings
        if is_memory_error(error):
            return f"no {name}: {OUT_OF_MEMORY}"
        if isinstance(error, InputError):
            return f"no {name}: {error}"
        _LOGGER.warning("%s of a study could not be written (%s)", name, type(error).__name__)
        return f"no {name}: writing failed ({type(error).__name__}); please report it"
    return None

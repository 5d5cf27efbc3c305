"""All DICOM objects of a study: creation, and writing into a folder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import DSfloat

from cspine.classification.result import CaseResult
from cspine.core.errors import DicomError
from cspine.core.files import atomic_path
from cspine.core.typing import Floats
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.reports.dicom.capture import secondary_captures
from cspine.reports.dicom.derived_series import SegmentationType
from cspine.reports.dicom.key_objects import key_object_selection
from cspine.reports.dicom.masks import BonePlanes, evidence_mask, vertebra_mask
from cspine.reports.dicom.measurements import has_place
from cspine.reports.dicom.not_assessable import not_assessable_report
from cspine.reports.dicom.presentation import presentation_states
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.saliency_map import saliency_map
from cspine.reports.dicom.segmentation import segment_evidence, segment_vertebrae
from cspine.reports.dicom.slice_lattice import SliceLattice, saliency_lattices
from cspine.reports.dicom.source_images import SourceImages, source_images, study_images
from cspine.reports.dicom.structured_report import structured_report
from cspine.reports.dicom.superseded import NO_OBJECTS, EarlierObjects, copy_issuer, rejection_notes
from cspine.views.compiled import CompiledStudy

REPORT_FILE: Final = "report.dcm"
VERTEBRAE_FILE: Final = "vertebrae.dcm"
EVIDENCE_FILE: Final = "evidence.dcm"
SALIENCY_FILE: Final = "saliency.dcm"
KEY_IMAGES_FILE: Final = "key-images.dcm"
MARKS_FILE: Final = "marks.dcm"
REJECTION_PREFIX: Final = "rejected-"

_REJECTION_DIGITS: Final = 8


@dataclass(frozen=True)
class DicomOptions:
    """Choices of how a result is written as DICOM.

    Attributes
    ----------
    segmentation : str
        Encoding of the vertebrae's segmentation.
    supersedes : tuple of Path
        Folders, with all folders and archives below, that may hold earlier results of the study.
    earlier : EarlierObjects
        Earlier results of the study that were read already.
    created_at : datetime, optional
        Time of creation in local time; the current time if omitted.
    """

    segmentation: SegmentationType = "labelmap"
    supersedes: tuple[Path, ...] = ()
    earlier: EarlierObjects = NO_OBJECTS
    created_at: datetime | None = None


def dicom_objects(case_result: CaseResult, options: DicomOptions = DicomOptions()) -> dict[str, Dataset]:
    """Return the findings as DICOM objects, keyed by file name.

    The objects are a structured report, segmentations of the vertebrae and of the evidence, a parametric map of the
    saliency, captures and, if a vertebra is suspicious, a key object selection and presentation states. Each type of
    object forms a new series of the same study, in the frame of reference of the slices. Weights without localization
    yield neither segmentations nor key images. UIDs are derived from the slices, the weights and the settings. Where
    other results of the study are known, a rejection note lists them. A study that is not assessable has a report
    alone, which says why and what would help.

    Parameters
    ----------
    case_result : CaseResult
        Result of a study.
    options : DicomOptions
        How it is written.

    Raises
    ------
    DicomError
        The study has no DICOM images to which objects can refer.
    """
    compiled = case_result.compiled
    if case_result.series is None:
        raise DicomError("no header of the study can be read, so that no DICOM object can name its patient")
    source = source_images(case_result.series) if compiled is not None else study_images(case_result.series)
    read = EarlierObjects.read(options.supersedes).get(source.first.StudyInstanceUID, NO_OBJECTS)
    earlier = options.earlier | read
    created_at = options.created_at or datetime.now().astimezone()
    context = earlier.current(ReportContext.of(case_result, source, created_at), source)
    superseded = earlier.superseded_by(context)
    with suppress_pydicom_warnings():
        previous = earlier.predecessors(context, source)
        objects: dict[str, Dataset | None] = {  # written first: a run that is interrupted has overwritten no report yet
            f"{REJECTION_PREFIX}{str(note.SOPInstanceUID)[-_REJECTION_DIGITS:]}.dcm": note
            for note in rejection_notes(context, source, superseded)
        }
        if compiled is None:
            objects[REPORT_FILE] = not_assessable_report(context, source, previous=previous)
        else:
            objects[REPORT_FILE] = structured_report(context, source, compiled.stack, previous=previous)
            objects |= _masks(context, source, compiled, options.segmentation)
            objects |= _evidence(context, source, case_result, compiled)
            objects |= _pictures(context, source, case_result, compiled)
    written = {name: dataset for name, dataset in objects.items() if dataset is not None}
    for dataset in written.values():
        copy_issuer(source.first, dataset)
        _complete_multi_frame(dataset, compiled)
    return written


def _complete_multi_frame(dataset: Dataset, compiled: CompiledStudy | None) -> None:
    """Add what highdicom leaves out of segmentations and maps, and readers need.

    ContentCreatorName is of type 2. Where some slices have no frame, highdicom omits the spacing of the slices, and
    dcmqi, which 3D Slicer reads by, takes their thickness for it.
    """
    if "ContentLabel" in dataset and "ContentCreatorName" not in dataset:
        dataset.ContentCreatorName = ""
    if compiled is None or not compiled.stack.is_even:
        return
    for groups in dataset.get("SharedFunctionalGroupsSequence") or ():
        for measures in groups.get("PixelMeasuresSequence") or ():
            if "SpacingBetweenSlices" not in measures:
                measures.SpacingBetweenSlices = DSfloat(compiled.stack.spacing_mm, auto_format=True)


def write_dicom(case_result: CaseResult, folder: Path, options: DicomOptions = DicomOptions()) -> list[Path]:
    """Write `dicom_objects` into a folder, each file atomically, and return their paths.

    What lies in the folder counts as superseded, too. Rejection notes of earlier runs stay as long as they are valid.

    Raises
    ------
    DicomError
        The study has no DICOM images to which objects can refer.
    DiskFullError, OutputError
        The folder cannot be written.
    """
    known = (*options.supersedes, folder) if folder.is_dir() else options.supersedes
    objects = dicom_objects(case_result, replace(options, supersedes=known))
    for name, dataset in objects.items():
        path = folder / name
        with atomic_path(path) as partial, suppress_pydicom_warnings():
            dataset.save_as(partial, enforce_file_format=True)
    for path in folder.glob("*.dcm"):  # left by an earlier run, which may have been killed in the middle of a file
        if path.name not in objects and not path.name.startswith(REJECTION_PREFIX):
            path.unlink()
    return [folder / name for name in objects]


def _masks(
    context: ReportContext, source: SourceImages, compiled: CompiledStudy, encoding: SegmentationType
) -> dict[str, Dataset | None]:
    spine = compiled.images.spine
    if spine is None or spine.label_map is None:
        return {}
    mask = vertebra_mask(spine.label_map, source.headers, compiled.stack, BonePlanes.of(compiled))
    return {VERTEBRAE_FILE: segment_vertebrae(context, source, mask, encoding)}


def _evidence(
    context: ReportContext, source: SourceImages, case_result: CaseResult, compiled: CompiledStudy
) -> dict[str, Dataset | None]:
    if case_result.prediction is None or not case_result.prediction.fields:
        return {}
    points: dict[str, Floats] = {
        vertebra.level: np.array(vertebra.strongest.point_lps_mm)
        for vertebra in context.findings.vertebrae
        if vertebra.strongest is not None
    }
    grids = saliency_lattices(case_result.prediction.fields, compiled.stack, points)
    shown: dict[str, SliceLattice] = {
        v.level: grids[v.level] for v in context.findings.vertebrae if has_place(v) and v.level in grids
    }
    evidence = evidence_mask(shown, source.headers, compiled.stack) if shown else None
    return {
        EVIDENCE_FILE: segment_evidence(context, source, evidence) if evidence is not None else None,
        SALIENCY_FILE: saliency_map(context, source, grids, compiled.stack),
    }


def _pictures(
    context: ReportContext, source: SourceImages, case_result: CaseResult, compiled: CompiledStudy
) -> dict[str, Dataset | None]:
    objects: dict[str, Dataset | None] = {KEY_IMAGES_FILE: key_object_selection(context, source)}
    objects |= zip(_numbered(MARKS_FILE), presentation_states(context, source, compiled.stack), strict=False)
    for name, capture in secondary_captures(context, source, case_result).items():
        objects[f"{name}.dcm"] = capture
    return objects


def _numbered(name: str) -> Iterator[str]:
    """Yield a file name, and then the same with a number.

    >>> names = _numbered("marks.dcm")
    >>> next(names), next(names)
    ('marks.dcm', 'marks-2.dcm')
    """
    stem, _, suffix = name.rpartition(".")
    yield name
    number = 1
    while True:
        number += 1
        yield f"{stem}-{number}.{suffix}"

"""Import one study: its scan is hashed, its masks are laid on the scan, and its labels are recorded."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.core.errors import LabelError
from cspine.core.files import atomic_path, output_errors, write_json
from cspine.core.identifiers import pseudonym, study_key
from cspine.core.settings import digest
from cspine.core.text import sanitize_text
from cspine.datasets.scan_records import RECORDS_FOLDER
from cspine.dicom.loading import LoadPlan, open_series, read_first
from cspine.dicom.nifti.write import write_label_map
from cspine.dicom.series import Study
from cspine.dicom.study_collection import FRACTURES_FOLDER, IMAGE_FOLDERS, SEGMENTATIONS_FOLDER, StudySource
from cspine.importing.case import Case
from cspine.importing.data_source import ImageMode, Layout
from cspine.importing.fractures import FractureLabels, read_fractures, targets_of
from cspine.importing.layouts.names import is_file_name
from cspine.importing.masks import check_bodies, describe_vertebrae, read_body_centroids, read_vertebrae
from cspine.importing.scan_hash import SCAN_HASH, canonical, hash_scan
from cspine.models.memory import freed_memory_released


@dataclass(frozen=True)
class ImportTask:
    """What a worker needs to import one study.

    Attributes
    ----------
    case : Case
        Its files.
    layout : str
        Layout of the data set.
    source, out : Path
        Root of the data set, and of what is written.
    images : str
        What becomes of the images.
    fingerprint : str
        Hash of what is known of the case and of the state of its files: where it changes, the case is imported again.
    """

    case: Case
    layout: Layout
    source: Path
    out: Path
    images: ImageMode
    fingerprint: str

    @classmethod
    def of(cls, case: Case, layout: Layout, source: Path, out: Path, images: ImageMode) -> "ImportTask":
        """Return the task of a case, whose files are looked at but not read."""
        known = {name: str(value) if isinstance(value, Path) else value for name, value in vars(case).items()}
        states = list[object]()
        for path in (case.masks, case.bodies, case.fractures):
            for file in sorted(path.iterdir()) if path is not None and path.is_dir() else [path]:
                if file is not None and file.is_file():
                    stat = file.stat()
                    states.append([file.name, stat.st_size, stat.st_mtime_ns])
        scan = "" if case.problem else StudySource(case.study, folder=case.images).fingerprint().digest
        return cls(case, layout, source, out, images, digest([known, states, scan]))

    @property
    def record_path(self) -> Path:
        """The study's record, written last."""
        return self.out / RECORDS_FOLDER / f"{study_key(self.case.study)}.json"


@freed_memory_released()
def import_case(task: ImportTask) -> dict[str, Any]:
    """Import one study, and return its record.

    Raises
    ------
    InputError
        Its scan or its masks cannot be used.
    DiskFullError, OutputError
        The data set cannot be written.
    """
    case = task.case
    if not is_file_name(case.study):
        raise LabelError(f"study {sanitize_text(case.study)}: has a UID that is no name of a file; correct its headers")
    label_maps = [task.out / folder / f"{case.study}.nii.gz" for folder in (SEGMENTATIONS_FOLDER, FRACTURES_FOLDER)]
    for path in (task.record_path, *label_maps):  # of files that have changed since
        path.unlink(missing_ok=True)
    if case.problem:
        raise LabelError(case.problem)
    study = StudySource(case.study, folder=case.images).open()
    plan, volume = read_first(open_series(study), LoadPlan.load)
    scan = canonical(volume)
    affine, hashes, warnings = np.array(scan.affine, np.float64), hash_scan(scan), list(plan.warnings)
    if volume.provenance:
        warnings += volume.provenance.repairs
    vertebrae = read_vertebrae(case.masks, case.numbering, scan) if case.masks else None
    described = describe_vertebrae(vertebrae, affine) if vertebrae else {}
    bodies = read_body_centroids(case.bodies, case.images) if case.bodies else {}
    if case.bodies:
        check_bodies(case.bodies.name, bodies, described)
    fractures = None
    if case.fractures:
        known = vertebrae.labels if vertebrae else None
        fractures = read_fractures(case.fractures, scan, known, is_numbered=case.has_numbered_fractures)
    is_of_neck = vertebrae is None or bool(set(vertebrae.levels) & set(VERTEBRAE))
    if is_of_neck:
        if vertebrae:
            write_label_map(label_maps[0], vertebrae.labels, affine)
            warnings += vertebrae.warnings
        if fractures is not None:
            write_label_map(label_maps[1], fractures.labels, affine)
    targets, contradictions = _targets(case, fractures)
    warnings += [*(fractures.warnings if fractures else ()), *contradictions]
    record = {
        "study": case.study,
        "case": case.name,
        "status": "imported" if is_of_neck else "left-out",
        "reason": None if is_of_neck else "its masks hold no cervical vertebra",
        "path": _place_images(task) if is_of_neck else None,
        "patient": _patient(task, study),
        "official_part": case.official_part,
        "targets": targets,
        "vertebrae": described,
        "bodies_lps_mm": bodies,
        "grid": {"shape": list(scan.spatial_shape), "affine_lps": affine.tolist()},
        "fingerprint": task.fingerprint,
        "hash": SCAN_HASH,
        "content_sha256": hashes.content_sha256,
        "planes": list(hashes.planes),
        "warnings": warnings,
    }
    write_json(task.record_path, record)
    return record


def _patient(task: ImportTask, study: Study) -> str:
    """Return the pseudonym of the patient: by the data set's name of the subject, or as headers give it."""
    if task.case.subject is not None:
        return pseudonym(f"{task.layout} {task.case.subject}", task.case.study)
    return pseudonym(study.patient_id, task.case.study)


def _targets(case: Case, fractures: FractureLabels | None) -> tuple[dict[str, int] | None, list[str]]:
    """Return the labels of a study, and warnings; those of tables go before those of masks, and must not contradict."""
    if fractures is None or case.fractures is None:
        return None if case.targets is None else dict(case.targets), []
    from_mask = targets_of(fractures.labels)
    if case.targets is None:
        return from_mask, []
    targets, name = dict(case.targets), case.fractures.name
    if from_mask[OVERALL] and not targets.get(OVERALL, 1):
        raise LabelError(f"{name}: marks a fracture, but the labels of {case.name} say that there is none; correct one")
    in_mask, in_table = ([level for level in VERTEBRAE if each.get(level)] for each in (from_mask, targets))
    comparison = (
        f"{name}: marks {', '.join(in_mask) or 'no cervical vertebra'}, the labels {', '.join(in_table) or 'none'}"
    )
    if in_mask and in_table and not set(in_mask) & set(in_table):
        raise LabelError(f"{comparison}; correct one")
    return targets, [f"{comparison}; the labels count"] if len(from_mask) > 1 and in_mask != in_table else []


def _place_images(task: ImportTask) -> str:
    """Return the path of the images below the manifest's root, after they are linked or copied if that is wanted."""
    images = task.case.images.resolve()
    if task.images == "refer":
        source = task.source.resolve()
        return (images.relative_to(source) if images.is_relative_to(source) else images).as_posix()
    folder = task.out / IMAGE_FOLDERS[0] / task.case.study
    place = folder if images.is_dir() else folder / images.name
    with output_errors(place):
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        if task.images == "link":
            place.symlink_to(images, target_is_directory=images.is_dir())
        elif images.is_dir():
            part = place.with_name(f".{place.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(images, part)
            part.replace(place)
        else:
            with atomic_path(place) as part:
                shutil.copyfile(images, part)
    return place.relative_to(task.out).as_posix()

"""Studies that exist in memory only: their truth and compiled images in a compiled data set."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import highdicom
import numpy as np
import pandas as pd

from cspine import __version__
from cspine.core.anatomy import OVERALL, SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.columns import STUDY
from cspine.core.errors import NotAssessableError
from cspine.core.files import complete_files, read_json, write_json
from cspine.core.identifiers import study_key
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.compiled_files import image_files
from cspine.dicom.study_collection import TRUTH_FOLDER
from cspine.localization.compiler import Compiler, compile_volume
from cspine.models.metadata import OLD_FRACTURE_TYPE
from cspine.phantom.anatomy.variants import ANTERIOR_ATLAS_CLEFT, ATLAS_CLEFT, OS_ODONTOIDEUM, UNFUSED_APOPHYSIS
from cspine.phantom.fractures.old_fractures import OLD_FRACTURE
from cspine.phantom.study import PhantomStudy
from cspine.views.compiled import CompiledVolume
from cspine.views.fracture_labels import FractureLabels, label_cells

LEFT_OUT: Final = "left_out"
"""Field of the truth: fractures whose vertebrae get no views, since nobody can see them in the image."""

_CORTICATED_GAPS: Final[Mapping[str, Sequence[str]]] = {
    OLD_FRACTURE: VERTEBRAE,
    UNFUSED_APOPHYSIS: VERTEBRAE,
    ATLAS_CLEFT: ("C1",),
    ANTERIOR_ATLAS_CLEFT: ("C1",),
    OS_ODONTOIDEUM: ("C2",),  # its record of C1 says that its arch is near
}
"""Mimics that look alike, with the levels that they are of: gaps with a smooth surface that cortical bone lines."""

_N_FRACTURE_POINTS: Final = 600
"""Points stored of each fracture, about; one per mm of the largest ones."""


@dataclass(frozen=True)
class RenderedStudy:
    """A study with exact truth, before it is compiled.

    Attributes
    ----------
    uid : str
        StudyInstanceUID.
    patient : str
        Pseudonym of the patient.
    study : PhantomStudy
        Voxels, fracture mask and truth.
    volume : highdicom.Volume
        What is compiled: the study's voxels on a straight grid, or another scan of the same place.
    """

    uid: str
    patient: str
    study: PhantomStudy
    volume: highdicom.Volume

    def write(self, dataset: CompiledDataset, compiler: Compiler) -> None:
        """Write truth and compiled images into a data set; the record is written last and marks it as finished."""
        key = study_key(self.uid)
        truth = {"study_instance_uid": self.uid, **self.study.truth, "fracture_lps_mm": _fracture_points(self.study)}
        write_json(dataset.folder / TRUTH_FOLDER / f"{key}.json", truth)
        started = time.perf_counter()
        common: dict[str, Any] = {
            "study_instance_uid": self.uid,
            "series_instance_uid": None,
            "patient": self.patient,
            "slices": self.volume.spatial_shape[0],
            "pixel_spacing_mm": float(self.volume.spacing[1]),
            "slice_spacing_mm": float(self.volume.spacing[0]),
            "software": __version__,
        }
        try:
            images = _without(compile_volume(self.volume, compiler), self.study.truth.get(LEFT_OUT, ()))
        except NotAssessableError as error:
            dataset.write_record(key, {**common, "status": "failed", "reason": error.reason})
            return
        files, rows = image_files(_with_fracture_cells(images, self.study), key, dataset.settings)
        for row in rows["levels"]:
            row["fracture_types"] = fracture_types_of_level(self.study, row["level"])
        record = {
            **common,
            "status": "compiled",
            "reason": None,
            "bytes_in": int(self.study.hu.nbytes),
            "bytes_out": sum(len(data) for data in files.values()),
            "seconds": time.perf_counter() - started,
            **rows,
        }
        dataset.write_study(key, files, record)


def finish(dataset: CompiledDataset) -> CompiledDataset:
    """Write a data set's tables, of all studies in its folder: there may be more than this run was called for."""
    truths = [read_json(path) for path in complete_files(dataset.folder / TRUTH_FOLDER, "*.json")]
    rows = {
        truth["study_instance_uid"]: {level: int(level in truth["levels"]) for level in VERTEBRAE} for truth in truths
    }
    labels = pd.DataFrame.from_dict(rows, orient="index").rename_axis(STUDY)
    labels[OVERALL] = labels.max(axis=1)
    dataset.finish(labels.astype("int8"))
    return CompiledDataset.open(dataset.folder)


def _without(images: CompiledVolume, fractures: Iterable[Mapping[str, Any]]) -> CompiledVolume:
    levels = {each["level"] for each in fractures}
    return replace(images, levels=tuple(views for views in images.levels if views.level not in levels))


def _with_fracture_cells(images: CompiledVolume, study: PhantomStudy) -> CompiledVolume:
    inverse, labels = np.linalg.inv(study.affine_lps), study.fracture_level_mask
    cells: dict[str, FractureLabels] = {
        views.level: label_cells(labels, inverse, views)
        for views in images.levels
        if views.level in study.truth["levels"]
    }
    return replace(images, fracture_cells=cells)


def _fracture_points(study: PhantomStudy) -> dict[str, list[list[float]]]:
    """Return points of the fractures of each vertebra, LPS mm: all of their voxels, or a subset of large ones."""
    points, labels = {}, study.fracture_level_mask
    for level in study.truth["levels"]:
        index = np.argwhere(labels == SEGMENT_NUMBERS[level])
        subset = index[:: max(len(index) // _N_FRACTURE_POINTS, 1)]
        lps = subset @ study.affine_lps[:3, :3].T + study.affine_lps[:3, 3]
        points[level] = np.round(lps, 1).tolist()
    return points


def fracture_types_of_level(study: PhantomStudy, level: str) -> str:
    """Return the fracture types of a vertebra, and `OLD_FRACTURE_TYPE` of a corticated gap; joined by semicolons."""
    types = {part["fracture_type"] for part in study.truth["fractures"] if part["level"] == level}
    gaps = {(each["name"], each["level"]) for each in study.truth.get("mimics", ())}
    if any((name, level) in gaps for name, levels in _CORTICATED_GAPS.items() if level in levels):
        types.add(OLD_FRACTURE_TYPE)
    return ";".join(sorted(types))

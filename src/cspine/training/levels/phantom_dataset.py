"""Phantoms straight to a compiled data set, without DICOM on the way: a study takes a megabyte instead of 150."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import highdicom
import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine import __version__
from cspine.core.anatomy import OVERALL, SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.columns import STUDY
from cspine.core.errors import NotAssessableError
from cspine.core.files import complete_files, read_json, write_json
from cspine.core.identifiers import pseudonym, study_key
from cspine.core.parallel import parallel_map
from cspine.core.progress import Progress, silent
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.compiled_files import image_files
from cspine.dicom.codec.pixels import AIR_HU
from cspine.dicom.study_collection import TRUTH_FOLDER
from cspine.localization.compiler import Compiler, compile_volume
from cspine.phantom import PhantomSettings, render_study
from cspine.phantom.scanner.dicom import Identity
from cspine.phantom.settings import GENERATOR
from cspine.phantom.study import PhantomStudy
from cspine.views.compiled import CompiledVolume
from cspine.views.fracture_labels import Broken, evidence_cells

_STILL_ROWS: Final = 1e-4

_PLACES: Final = 600
"""Places kept of each fracture: every 1 mm of the largest ones."""


@dataclass(frozen=True)
class _Task:
    """One study, and the data sets that it goes into, each with its compiler."""

    ways: tuple[tuple[CompiledDataset, Compiler], ...]
    seed: int
    index: int
    settings: PhantomSettings

    @property
    def uid(self) -> str:
        return Identity(self.seed, self.index, self.settings.domain).study_uid

    @property
    def key(self) -> str:
        return study_key(self.uid)

    def left(self) -> "_Task":
        """Return the same study, for those data sets that lack it."""
        return replace(self, ways=tuple(way for way in self.ways if way[0].record(self.key) is None))


def write_phantom_dataset(
    out: Path,
    compiler: Compiler,
    *,
    studies: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> CompiledDataset:
    """Draw, scan and compile phantoms in memory; as `write_phantom_datasets` of one data set."""
    (store,) = write_phantom_datasets(
        {out: compiler}, studies=studies, seed=seed, settings=settings, workers=workers, progress=progress
    )
    return store


def write_phantom_datasets(
    compilers: Mapping[Path, Compiler],
    *,
    studies: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> list[CompiledDataset]:
    """Draw and scan phantoms once and compile them in several ways; an interrupted run goes on where it stopped.

    Parameters
    ----------
    compilers : mapping of Path to Compiler
        Each data set's folder, and how it is compiled; vertebrae are localised as in any scan.
    studies : int
        How many at least; study i is the same whatever their number, and one that is there stays.
    seed : int
        The same seed gives the same studies.
    settings : PhantomSettings, optional
        Ranges to draw from.
    workers : int
        Processes to use.
    progress : Progress
        Told how many studies are done.

    Returns
    -------
    list of CompiledDataset
        One per compiler.

    Raises
    ------
    OutputTakenError
        A folder holds something else.
    DiskFullError, OutputError
        A folder cannot be written.
    """
    settings = settings or PhantomSettings()
    source = f"phantoms of generator {GENERATOR}, seed {seed}, settings {settings.hash}"
    ways = [
        (compiler.create_dataset(out, source=source, is_phantom=True), compiler) for out, compiler in compilers.items()
    ]
    tasks = [_Task(tuple(ways), seed, index, settings).left() for index in range(studies)]
    missing = [task for task in tasks if task.ways]
    for outcome in parallel_map(_write, missing, workers=workers, progress=progress):
        outcome.get()
    return [_finished(store) for store, _ in ways]


def _finished(store: CompiledDataset) -> CompiledDataset:
    """Write a data set's tables, of all that lies in it: it may hold more studies than were asked for."""
    truths = [read_json(path) for path in complete_files(store.folder / TRUTH_FOLDER, "*.json")]
    rows = {
        truth["study_instance_uid"]: {level: int(level in truth["levels"]) for level in VERTEBRAE} for truth in truths
    }
    labels = pd.DataFrame.from_dict(rows, orient="index").rename_axis(STUDY)
    labels[OVERALL] = labels.max(axis=1)
    store.finish(labels.astype("int8"))
    return CompiledDataset.open(store.folder)


def _truth_path(store: CompiledDataset, task: _Task) -> Path:
    return store.folder / TRUTH_FOLDER / f"{task.key}.json"


def _write(task: _Task) -> None:
    """Make one study in a worker."""
    study = render_study(task.seed, task.index, task.settings)
    truth = {"study_instance_uid": task.uid, **study.truth, "broken_lps_mm": _broken(study)}
    volume = straight(study.hu, study.affine_lps)
    for store, compiler in task.ways:
        write_json(_truth_path(store, task), truth)
        _compile(store, compiler, task, study, volume)


def _compile(
    store: CompiledDataset, compiler: Compiler, task: _Task, study: PhantomStudy, volume: highdicom.Volume
) -> None:
    """Compile a study in one way; its record is written last."""
    started = time.perf_counter()
    common: dict[str, Any] = {
        "study_instance_uid": task.uid,
        "series_instance_uid": None,
        "patient": pseudonym(None, task.uid),
        "slices": len(study.hu),
        "pixel_spacing_mm": float(volume.spacing[1]),
        "slice_spacing_mm": float(volume.spacing[0]),
        "software": __version__,
    }
    try:
        images = compile_volume(volume, compiler)
    except NotAssessableError as error:
        store.write_record(task.key, {**common, "status": "failed", "reason": error.reason})
        return
    files, rows = image_files(_with_truth(images, study), task.key, store.settings)
    for row in rows["levels"]:
        row["fracture_types"] = _kinds(study, row["level"])
    record = {
        **common,
        "status": "compiled",
        "reason": None,
        "bytes_in": int(study.hu.nbytes),
        "bytes_out": sum(len(data) for data in files.values()),
        "seconds": time.perf_counter() - started,
        **rows,
    }
    store.write_study(task.key, files, record)


def straight(hu: npt.NDArray[np.int16], affine_lps: npt.NDArray[np.float64]) -> highdicom.Volume:
    """Return a scan's slices as a straight volume, as `cspine.dicom.load_volume` makes one of a tilted gantry's."""
    step, down = affine_lps[:3, 0], affine_lps[:3, 1]
    drift = float(step @ down / (down @ down))  # rows by which each slice lies lower than the last
    if abs(drift) < _STILL_ROWS:
        return highdicom.Volume(hu, affine_lps, "PATIENT")
    slices, rows = hu.shape[:2]
    first = int(np.floor(min(0.0, drift * (slices - 1))))
    canvas = np.full((slices, rows + int(np.ceil(abs(drift) * (slices - 1))), hu.shape[2]), AIR_HU, np.int16)
    for k in range(slices):
        at = drift * k - first
        whole, part = int(at), at - int(at)
        canvas[k, whole : whole + rows] = hu[k]
        if part:
            mixed = hu[k, :-1] * np.float32(part) + hu[k, 1:] * np.float32(1 - part)
            canvas[k, whole + 1 : whole + rows] = np.rint(mixed)
    affine = affine_lps.copy()
    affine[:3, 0] = step - drift * down
    affine[:3, 3] += first * down
    return highdicom.Volume(canvas, affine, "PATIENT")


def _with_truth(images: CompiledVolume, study: PhantomStudy) -> CompiledVolume:
    inverse, marked = np.linalg.inv(study.affine_lps), study.broken
    broken: dict[str, Broken] = {
        views.level: evidence_cells(marked, inverse, views)
        for views in images.levels
        if views.level in study.truth["levels"]
    }
    return replace(images, broken=broken)


def _broken(study: PhantomStudy) -> dict[str, list[list[float]]]:
    """Return places at which each broken vertebra is broken, LPS mm: all of its voxels, or so many of them."""
    found, marked = {}, study.broken
    for level in study.truth["levels"]:
        index = np.argwhere(marked == SEGMENT_NUMBERS[level])
        some = index[:: max(len(index) // _PLACES, 1)]
        lps = some @ study.affine_lps[:3, :3].T + study.affine_lps[:3, 3]
        found[level] = np.round(lps, 1).tolist()
    return found


def _kinds(study: PhantomStudy, level: str) -> str:
    return ";".join(sorted({part["kind"] for part in study.truth["fractures"] if part["level"] == level}))

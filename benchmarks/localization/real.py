"""Run the localizer on real scans and their variants, resumably."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import highdicom
import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmarks.localization.prediction import Prediction, predict_volume, refused
from benchmarks.localization.scans import REAL_SCANS, SCANS_BY_NAME, RealScan, require_scan_names
from benchmarks.localization.scoring import CaseScore, score
from benchmarks.localization.truth import REFERENCE, ScanTruth, read_truth, truth_in
from benchmarks.localization.variants import AS_IS, CUTS, FIELD_CROP, Variant
from cspine.core.errors import InputError, NotAssessableError
from cspine.core.execution.parallel import parallel_map
from cspine.core.files import read_json, write_json
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.localization.compiler import VolumeLocalizer
from cspine.localization.loading import load_localizer
from cspine.localization.localizer import Localizer

FOLDER: Final = "real"
"""Folder of the predictions below that of the run."""

_CUTTING: Final = frozenset(variant.name for variant in (*CUTS, *FIELD_CROP))


AffineRow = tuple[float, float, float, float]


class RealCase(BaseModel):
    """A prediction for a scan or a variant of it, as it is kept in a file.

    Attributes
    ----------
    prediction : Prediction
        What the localizer states.
    affine_lps : 4 x (float, float, float, float) or None
        Affine of the volume from ``[k, j, i, 1]`` to LPS mm; None where it could not be read.
    shape : (int, int, int) or None
        Its number of voxels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prediction: Prediction
    affine_lps: tuple[AffineRow, AffineRow, AffineRow, AffineRow] | None = None
    shape: tuple[int, int, int] | None = None

    @property
    def geometry(self) -> highdicom.VolumeGeometry | None:
        """The geometry of the volume."""
        if self.affine_lps is None or self.shape is None:
            return None
        return highdicom.VolumeGeometry(np.array(self.affine_lps), self.shape, "PATIENT")


@dataclass(frozen=True)
class RealRun:
    """What is run on which scans.

    Attributes
    ----------
    out : Path
        Folder of the run.
    real : Path
        Folder of real CT.
    localizer : str or None
        File or name of the localizer; the embedded one where None.
    reference : Path
        The vertebrae that a reader saw.
    variants : frozenset of str or None
        Names of the variants to run; all where None.
    held_out : dict
        Name of a scan that took part in training to the localizer that was trained without it.
    """

    out: Path
    real: Path
    localizer: str | None = None
    reference: Path = REFERENCE
    variants: frozenset[str] | None = None
    held_out: Mapping[str, str] = field(default_factory=dict)

    def landmarks(self, scan: RealScan) -> dict[str, list[float]]:
        """Return the points that variants of a scan depend on, rounded to 0.1 mm."""
        landmarks = read_truth(scan.name, self.real, self.reference).landmarks()
        return {name: np.round(point, 1).tolist() for name, point in landmarks.items()}

    def load_localizer(self, scan: RealScan) -> Localizer:
        """Load the localizer of a scan: the one that was trained without it where there is one."""
        return load_localizer(self.held_out.get(scan.name, self.localizer))

    def variants_of(self, scan: RealScan) -> list[Variant]:
        """Return the variants of a scan that are run."""
        return [variant for variant in scan.variants if self.variants is None or variant.name in self.variants]

    def is_done(self, scan: RealScan) -> bool:
        """Return whether a scan's variants were predicted, with the present landmarks."""
        if not self.file(scan).is_file():
            return False
        record = read_json(self.file(scan))
        is_current = record["landmarks"] == self.landmarks(scan)
        return is_current and all(variant.name in record["cases"] for variant in self.variants_of(scan))

    def file(self, scan: RealScan) -> Path:
        """Return the file of a scan's predictions."""
        return self.out / FOLDER / f"{scan.name}.json"


def run_real(run: RealRun, *, workers: int = 1, progress: Progress = silent) -> None:
    """Predict all scans and variants that an earlier call did not finish.

    Raises
    ------
    OutputTakenError
        The folder holds the run of another localizer.
    InputError
        A scan that is held out has no such name.
    """
    require_scan_names(run.held_out)
    scans = [scan for scan in REAL_SCANS if scan.exists(run.real)]
    identity = {
        "localizer": load_localizer(run.localizer).sha256,
        "held_out": {scan.name: run.load_localizer(scan).sha256 for scan in scans if scan.name in run.held_out},
    }
    ResumableJob(run.out / FOLDER, "job.json", identity).open()
    outcomes = parallel_map(
        partial(_run_scan, run),
        [scan.name for scan in scans],
        is_done=lambda name: run.is_done(SCANS_BY_NAME[name]),
        workers=workers,
        stage="real scans",
        progress=progress,
    )
    for outcome in outcomes:
        outcome.get()


def _run_scan(run: RealRun, name: str) -> None:
    """Predict a scan and its variants; after a change of its landmarks, only those that depend on them."""
    scan = SCANS_BY_NAME[name]
    localizer = run.load_localizer(scan)
    landmarks = run.landmarks(scan)
    points = {name: np.array(point) for name, point in landmarks.items()}
    cases = _read_records(run, scan)
    if run.file(scan).is_file() and read_json(run.file(scan))["landmarks"] != landmarks:
        cases = {name: case for name, case in cases.items() if name not in _CUTTING}
    missing = [variant for variant in run.variants_of(scan) if variant.name not in cases]
    try:
        volume = scan.load(run.real, localizer)
    except (InputError, NotAssessableError) as error:
        cases |= dict.fromkeys((variant.name for variant in missing), None)
        cases[AS_IS.name] = RealCase(prediction=refused(error))
    else:
        for variant in missing:
            changed = variant.apply(volume, points)
            cases[variant.name] = None if changed is None else _predict(localizer, changed)
    records = {name: None if case is None else case.model_dump(mode="json") for name, case in cases.items()}
    write_json(run.file(scan), {"landmarks": landmarks, "cases": records})


def _predict(localizer: VolumeLocalizer, volume: highdicom.Volume) -> RealCase:
    first, second, third, last = (tuple(row) for row in np.round(volume.affine, 6).tolist())
    prediction = predict_volume(localizer, volume)
    return RealCase(prediction=prediction, affine_lps=(first, second, third, last), shape=volume.spatial_shape)


def read_cases(run: RealRun, scan: RealScan) -> dict[str, RealCase]:
    """Return the finished predictions of a scan by variant; none where it was not run."""
    return {name: case for name, case in _read_records(run, scan).items() if case is not None}


def _read_records(run: RealRun, scan: RealScan) -> dict[str, RealCase | None]:
    """Return the finished predictions of a scan; None of a variant that is the scan itself."""
    if not run.file(scan).is_file():
        return {}
    records = read_json(run.file(scan))["cases"]
    return {name: None if record is None else RealCase.model_validate(record) for name, record in records.items()}


def read_scores(run: RealRun) -> list[CaseScore]:
    """Read the predictions of a run and compare them with the reference; the kind is the name of the variant."""
    return list(_read_scores(run))


def _read_scores(run: RealRun) -> Iterator[CaseScore]:
    for scan in REAL_SCANS:
        for name, case in read_cases(run, scan).items():
            yield score(scan.name, name, case.prediction, case_truth(run, scan, name, case))


def case_truth(run: RealRun, scan: RealScan, variant: str, case: RealCase) -> ScanTruth:
    """Return what a case shows."""
    truth = read_truth(scan.name, run.real, run.reference)
    if case.geometry is None:
        return truth
    return truth_in(truth, case.geometry, is_cut=variant in _CUTTING, is_neck=scan.kind != "other part")

"""Predictions of level networks for compiled views; kept by the hash of the weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmarks.real_texture.run import TextureRun
from benchmarks.real_texture.views import ScanViews
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import predict_dataset
from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.core.columns import POINT_COLUMNS, STUDY
from cspine.core.errors import WeightsError
from cspine.core.files import read_model, write_json
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats

FOLDER: Final = "predictions"
TRIAGE: Final = "triage"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Vertebra(_Record):
    """What is predicted of one vertebra of one study.

    Attributes
    ----------
    level : str
        C1 to C7.
    probability : float or None
        Calibrated probability; None where the level has none.
    is_fractured : bool
        Whether there is a virtual fracture in it.
    is_sham : bool
        Whether there is a sham in it.
    fracture_type, visibility : str
        Type and grade of the fracture; empty without one.
    place_mm : float or None
        Distance of the strongest evidence from the nearest voxel of the fracture.
    """

    level: str
    probability: float | None
    is_fractured: bool = False
    is_sham: bool = False
    fracture_type: str = ""
    visibility: str = ""
    place_mm: float | None = None


class Study(_Record):
    """What is predicted of one study.

    Attributes
    ----------
    uid, kind, name : str
        Its name, its kind (``variant``, ``fracture`` or ``sham``), and the name of the variant or number of the copy.
    probability : float or None
        Calibrated probability of the patient; None where the study is not assessable.
    vertebrae : tuple of Vertebra
        C1 to C7.
    """

    uid: str
    kind: str
    name: str
    probability: float | None
    vertebrae: tuple[Vertebra, ...]


class ScanPredictions(_Record):
    """The predictions for all studies of one scan.

    Attributes
    ----------
    scan, weights_sha256 : str
        Name of the scan, and hash of the weights that judge it.
    level_threshold, patient_threshold : float
        The weights' triage point.
    studies : tuple of Study
        Variants of the scan, and virtual studies.
    """

    scan: str
    weights_sha256: str
    level_threshold: float
    patient_threshold: float
    studies: tuple[Study, ...]


def predict_scans(run: TextureRun, *, progress: Progress = silent) -> list[ScanPredictions]:
    """Return the predictions for all scans that are assessable; those made earlier are read."""
    predictions = []
    for scan in run.scans:
        views = ScanViews.of(run, scan.name)
        if views.refusal is None:
            predictions.append(_predict_scan(run, views, progress))
    return predictions


def _predict_scan(run: TextureRun, views: ScanViews, progress: Progress) -> ScanPredictions:
    classifier = run.load_classifier(views.scan)
    sha256 = classifier.identity.sha256
    name = f"{sha256[:16]}{'-tta' * run.tta}"
    path = run.out / FOLDER / name / f"{views.dataset.folder.name}-{views.copies}.json"
    if path.is_file():
        return read_model(path, ScanPredictions, wrong="holds no predictions; delete it and")
    predictions = ScanPredictions(
        scan=views.scan,
        weights_sha256=sha256,
        **_thresholds(classifier, path),
        studies=tuple(_studies(views, classifier, progress)),
    )
    write_json(path, predictions.model_dump(mode="json"))
    return predictions


def _thresholds(classifier: LevelClassifier, path: Path) -> dict[str, float]:
    for point in classifier.calibration.points:
        if point.name == TRIAGE:
            return {"level_threshold": point.level, "patient_threshold": point.patient}
    raise WeightsError(f"{path.parent.name}: the weights have no triage point; calibrate them first")


def _studies(views: ScanViews, classifier: LevelClassifier, progress: Progress) -> Iterator[Study]:
    probability, marks = predict_dataset(views.dataset, classifier, progress=progress)
    if marks is None:  # pragma: no cover - level networks have saliency maps
        raise AssertionError("the network has no saliency maps")
    rows = probability.to_dict("index")
    points = {
        (str(row[STUDY]), str(row["level"])): np.array([row[name] for name in POINT_COLUMNS], float)
        for row in marks.to_dict("records")
    }
    for kind, which in views.plan():
        uid = views.uid(kind, which)
        row = rows.get(uid)
        if row is None and views.is_same(uid):
            continue
        truth = views.truth(uid)
        vertebrae = tuple(_vertebra(level, row, truth, points.get((uid, level))) for level in VERTEBRAE)
        yield Study(uid=uid, kind=kind, name=str(which), probability=_value(row, OVERALL), vertebrae=vertebrae)


def _vertebra(level: str, row: Mapping[Any, float] | None, truth: dict[str, Any], mark: Floats | None) -> Vertebra:
    fracture = next((each for each in truth["fractures"] if each["level"] == level), None)
    is_sham = any(each["level"] == level for each in truth.get("shams", []))
    if fracture is None:
        return Vertebra(level=level, probability=_value(row, level), is_sham=is_sham)
    place_mm = None
    crack = np.array(truth["fracture_lps_mm"].get(level, []), float).reshape(-1, 3)
    if mark is not None and len(crack):
        place_mm = float(np.linalg.norm(crack - mark, axis=1).min())
    return Vertebra(
        level=level,
        probability=_value(row, level),
        is_fractured=True,
        fracture_type=fracture["fracture_type"],
        visibility=fracture["visibility_grade"],
        place_mm=place_mm,
    )


def _value(row: Mapping[Any, float] | None, column: str) -> float | None:
    """Return a probability; None of what is not assessable."""
    return None if row is None or np.isnan(row[column]) else float(row[column])

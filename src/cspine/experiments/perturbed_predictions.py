"""Predictions of a network for scans as they are and perturbed, and from control inputs without bone."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import highdicom
import numpy as np
import pandas as pd

from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.loading import load_classifier
from cspine.core.anatomy import TARGETS
from cspine.core.columns import STUDY
from cspine.core.errors import InputError, NotAssessableError, OutputError, WeightsError
from cspine.core.execution.parallel import parallel_map
from cspine.core.files import plain_json, read_json, write_json
from cspine.core.identifiers import study_key
from cspine.core.jobs import ResumableJob
from cspine.core.not_assessable import not_assessable_from
from cspine.core.progress import Progress, silent
from cspine.dicom.limits import MAX_SLICE_SPACING_MM
from cspine.dicom.loading import LoadPlan, LoadPolicy, check_slice_spacing, open_series, read_first
from cspine.dicom.study_collection import StudyCollection, StudySource
from cspine.experiments.blanking import blank_volume
from cspine.experiments.perturbations import PERTURBATIONS
from cspine.localization.compiler import compile_volume
from cspine.localization.series_choice import choose_series
from cspine.models.registry import DEFAULT
from cspine.views.compiled import CompiledVolume

UNPERTURBED: Final = "unperturbed"
BLANK: Final = "blank"
"""Control input: images whose vertebrae are blacked out."""

SLICES: Final = "slices"
"""Column of the number of slices; in `evaluate_perturbations` also the control model, whose only feature it is."""

PERTURBATION: Final = "perturbation"
SEVERITY: Final = "severity"
NOT_ASSESSABLE: Final = "not_assessable"

MARKER: Final = "robustness.json"

_ROWS_FOLDER: Final = "rows"


@dataclass(frozen=True)
class _StudyTask:
    """One study, and how it is perturbed and predicted."""

    source: StudySource
    perturbations: tuple[str, ...]
    weights: tuple[str, ...]
    out: Path

    @property
    def uid(self) -> str:
        return self.source.study_instance_uid

    @property
    def path(self) -> Path:
        return self.out / _ROWS_FOLDER / f"{study_key(self.uid)}.json"


def predict_perturbed(
    studies: StudyCollection,
    out: Path,
    *,
    perturbations: Sequence[str] = tuple(PERTURBATIONS),
    weights: Sequence[str] = (),
    workers: int = 1,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Predict every study as it is and perturbed; an interrupted run is resumed.

    Parameters
    ----------
    studies : StudyCollection
        The studies that are perturbed and predicted.
    out : Path
        Gets ``rows/``, the predictions of each study.
    perturbations : sequence of str
        Which of `cspine.experiments.perturbations.PERTURBATIONS` are applied.
    weights : sequence of str
        As `cspine.classification.loading.load_classifier` takes them; the default weights where empty.
    workers : int
        Number of processes; results do not depend on it.
    progress : Progress
        Called with the number of finished studies.

    Returns
    -------
    DataFrame
        Columns StudyInstanceUID, perturbation, severity, `TARGETS` (NaN for vertebrae that were not localized, and for
        all where the scan is not assessable), not_assessable (code of the reason, or None) and slices.

    Raises
    ------
    InputError
        A perturbation does not exist.
    WeightsError
        The weights cannot be used.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    names = tuple(dict.fromkeys(perturbations))
    unknown = [name for name in names if name not in PERTURBATIONS]
    if unknown or not names:
        raise InputError(
            f"{', '.join(unknown) or 'no name'}: is not a perturbation; choose of {', '.join(PERTURBATIONS)}"
        )
    identity = {
        "kind": "robustness",
        "perturbations": {name: list(PERTURBATIONS[name].severities) for name in names},
        "weights": load_classifier(*(weights or (DEFAULT,))).identity.sha256,
        "studies": str(studies.path.resolve()),
    }
    ResumableJob(out, MARKER, identity).open()
    tasks = [_StudyTask(source, names, tuple(weights), out) for source in studies.studies]
    for outcome in parallel_map(_predict_study, tasks, is_done=_is_done, workers=workers, progress=progress):
        if isinstance(outcome.error, (OutputError, WeightsError)):
            raise outcome.error
        if outcome.error is not None:  # a study that crashes does not end the run
            row = _row(outcome.item.uid, UNPERTURBED, 0.0, None, type(outcome.error).__name__, 0)
            write_json(outcome.item.path, [row])
    rows = [row for task in tasks for row in read_json(task.path)]
    table = pd.DataFrame(rows, columns=[STUDY, PERTURBATION, SEVERITY, *TARGETS, NOT_ASSESSABLE, SLICES])
    return table.astype(dict.fromkeys(TARGETS, float))


def _is_done(task: _StudyTask) -> bool:
    return task.path.is_file()


def _predict_study(task: _StudyTask) -> None:
    """Write the predictions of one study, in a worker process."""
    write_json(task.path, list(_study_rows(task)))


def _study_rows(task: _StudyTask) -> Iterator[dict[str, Any]]:
    classifier, uid = _cached_classifier(task.weights), task.uid
    try:
        plan = open_series(task.source, LoadPolicy(max_slice_spacing_mm=MAX_SLICE_SPACING_MM))
        plan = choose_series(plan, classifier.compiler.localizer)
        volume: highdicom.Volume = read_first(plan, LoadPlan.load)[1]
    except (InputError, NotAssessableError) as error:
        yield _row(uid, UNPERTURBED, 0.0, None, not_assessable_from(error).code, 0)
        return
    slices = int(volume.spatial_shape[0])
    probabilities, not_assessable, images = _predict_volume(volume, classifier)
    yield _row(uid, UNPERTURBED, 0.0, probabilities, not_assessable, slices)
    if images is not None:
        yield _row(uid, BLANK, 0.0, _probabilities(blank_volume(images), classifier), None, slices)
    for name in task.perturbations:
        perturbation = PERTURBATIONS[name]
        for severity in perturbation.severities:
            perturbed = perturbation.apply(volume, severity, _random_generator(uid, name, severity))
            probabilities, not_assessable, _ = _predict_volume(perturbed, classifier)
            yield _row(uid, name, severity, probabilities, not_assessable, slices)


@lru_cache(maxsize=1)
def _cached_classifier(weights: tuple[str, ...]) -> Baseline | LevelClassifier:
    return load_classifier(*(weights or (DEFAULT,)))


def _random_generator(uid: str, perturbation: str, severity: float) -> np.random.Generator:
    """Return a source of randomness that depends on study, perturbation and severity, not on the order of studies."""
    seed = hashlib.sha256(f"{uid} {perturbation} {severity}".encode()).digest()[:8]
    return np.random.default_rng(int.from_bytes(seed, "little"))


def _row(
    uid: str,
    perturbation: str,
    severity: float,
    probabilities: list[float | None] | None,
    not_assessable: str | None,
    slices: int,
) -> dict[str, Any]:
    values = dict(zip(TARGETS, probabilities or [None] * len(TARGETS), strict=True))
    key = {STUDY: uid, PERTURBATION: perturbation, SEVERITY: severity}
    return {**key, **values, NOT_ASSESSABLE: not_assessable, SLICES: slices}


def _predict_volume(
    volume: highdicom.Volume, classifier: Baseline | LevelClassifier
) -> tuple[list[float | None] | None, str | None, CompiledVolume | None]:
    """Return probabilities and compiled images, or the code of why there are none; as `Detector.predict_case` does."""
    try:
        check_slice_spacing(float(volume.spacing[0]))
        images = compile_volume(volume, classifier.compiler)
    except NotAssessableError as error:
        return None, error.code, None
    return _probabilities(images, classifier), None, images


def _probabilities(images: CompiledVolume, classifier: Baseline | LevelClassifier) -> list[float | None]:
    values: list[float | None] = plain_json(classifier.predict_probabilities(images))
    return values

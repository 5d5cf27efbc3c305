"""How a system does on scans that were made worse on purpose, and whether shortcuts lead it anywhere."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import highdicom
import numpy as np
import pandas as pd

from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.loading import load_classifier
from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.columns import STUDY
from cspine.core.errors import InputError, LabelError, NotAssessableError, OutputError, WeightsError
from cspine.core.files import open_run_directory, plain_json, read_json, write_json
from cspine.core.identifiers import study_key
from cspine.core.not_assessable import not_assessable_from
from cspine.core.parallel import parallel_map
from cspine.core.progress import Progress, silent
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.dicom.open_series import LoadPolicy, check_slice_spacing, open_series
from cspine.dicom.limits import MAX_SLICE_SPACING_MM
from cspine.dicom.study_collection import StudyCollection, StudySource
from cspine.evaluation.cases import LEVELS, match_predictions
from cspine.evaluation.predictions import Predictions
from cspine.evaluation.target_metrics import auc_interval
from cspine.experiments.perturbations import SUITES
from cspine.localization.compiler import compile_volume
from cspine.metrics.bootstrap import UNDEFINED, Interval
from cspine.models.registry import DEFAULT
from cspine.views.compiled import CompiledVolume
from cspine.views.level_views import LevelViews

UNPERTURBED: Final = "as it is"
BLANK: Final = "blank"
SLICES: Final = "slices"
MARKER: Final = "robustness.json"

_ROWS: Final = "rows"


@dataclass(frozen=True)
class RobustnessPoint:
    """How a system does at one severity.

    Attributes
    ----------
    suite : str
        One of `SUITES`, `UNPERTURBED`, or a shortcut.
    severity : float
        0 of scans as they are.
    answered, not_assessable : int
        Studies.
    patients, levels : Interval
        Areas under the ROC curves.
    moved : float
        How far probabilities lie from those of the scan as it is, on average.
    """

    suite: str
    severity: float
    answered: int
    not_assessable: int
    patients: Interval
    levels: Interval
    moved: float


@dataclass(frozen=True)
class _Task:
    source: StudySource
    suites: tuple[str, ...]
    weights: tuple[str, ...]
    out: Path

    @property
    def uid(self) -> str:
        return self.source.study_instance_uid

    @property
    def path(self) -> Path:
        return self.out / _ROWS / f"{study_key(self.uid)}.json"


def run_perturbations(
    root: StudyCollection,
    out: Path,
    *,
    suites: Sequence[str] = tuple(SUITES),
    weights: Sequence[str] = (),
    workers: int = 1,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Read every study as it is and made worse; an interrupted run goes on where it stopped.

    Parameters
    ----------
    root : StudyCollection
        Where the studies lie.
    out : Path
        Gets ``rows/``, what was said of each study.
    suites : sequence of str
        Of `cspine.experiments.perturbations.SUITES`.
    weights : sequence of str
        As `cspine.classification.loading.load_classifier` takes them; those that come with cspine where empty.
    workers : int
        Processes to use; what is found does not depend on it.
    progress : Progress
        Told how many studies are done.

    Returns
    -------
    DataFrame
        Columns StudyInstanceUID, suite, severity, `TARGETS` (NaN of vertebrae that were not found, and of all where it
        was refused), refused (why, or None) and slices.

    Raises
    ------
    InputError
        There is no such suite.
    WeightsError
        The weights cannot be used.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    chosen = tuple(dict.fromkeys(suites))
    unknown = [name for name in chosen if name not in SUITES]
    if unknown or not chosen:
        raise InputError(f"{', '.join(unknown) or 'no suite'}: is none; choose of {', '.join(SUITES)}")
    identity = {
        "kind": "robustness",
        "suites": {name: list(SUITES[name].severities) for name in chosen},
        "weights": load_classifier(*(weights or (DEFAULT,))).identity.sha256,
        "studies": str(root.path.resolve()),
    }
    open_run_directory(out, MARKER, identity, remedy="choose another --out, or delete it")
    tasks = [_Task(source, chosen, tuple(weights), out) for source in root.studies]
    missing = [task for task in tasks if not task.path.is_file()]
    for outcome in parallel_map(_try, missing, workers=workers, progress=progress):
        if isinstance(outcome.error, (OutputError, WeightsError)):
            raise outcome.error
        if outcome.error is not None:  # one study stops nothing
            write_json(
                outcome.item.path, [_row(outcome.item.uid, UNPERTURBED, 0.0, None, type(outcome.error).__name__, 0)]
            )
    rows = [row for task in tasks for row in read_json(task.path)]
    table = pd.DataFrame(rows, columns=[STUDY, "suite", "severity", *TARGETS, "not_assessable", SLICES])
    return table.astype(dict.fromkeys(TARGETS, float))


def _try(task: _Task) -> None:
    """Read one study in every way, in a worker."""
    write_json(task.path, list(_rows(task)))


def _rows(task: _Task) -> Iterator[dict[str, Any]]:
    classifier, uid = _classifier(task.weights), task.uid
    try:
        plan = open_series(task.source, LoadPolicy(max_slice_spacing_mm=MAX_SLICE_SPACING_MM))
        volume: highdicom.Volume = plan.load()
    except (InputError, NotAssessableError) as error:
        yield _row(uid, UNPERTURBED, 0.0, None, not_assessable_from(error).code, 0)
        return
    count = int(volume.spatial_shape[0])
    said, not_assessable, images = _answer(volume, classifier)
    yield _row(uid, UNPERTURBED, 0.0, said, not_assessable, count)
    if images is not None:
        yield _row(uid, BLANK, 0.0, _said_of(_blanked(images), classifier), None, count)
    for name in task.suites:
        suite = SUITES[name]
        for severity in suite.severities:
            changed = suite.change(volume, severity, _chance(uid, name, severity))
            said, not_assessable, _ = _answer(changed, classifier)
            yield _row(uid, name, severity, said, not_assessable, count)


@lru_cache(maxsize=1)
def _classifier(weights: tuple[str, ...]) -> Baseline | LevelClassifier:
    return load_classifier(*(weights or (DEFAULT,)))


def _chance(uid: str, suite: str, severity: float) -> np.random.Generator:
    """Return where chance comes from: the same for a study, a suite and a severity, in whatever order they come."""
    seed = hashlib.sha256(f"{uid} {suite} {severity}".encode()).digest()[:8]
    return np.random.default_rng(int.from_bytes(seed, "little"))


def _row(
    uid: str, suite: str, severity: float, said: list[float | None] | None, not_assessable: str | None, slices: int
) -> dict[str, Any]:
    values = dict(zip(TARGETS, said or [None] * len(TARGETS), strict=True))
    return {
        STUDY: uid,
        "suite": suite,
        "severity": severity,
        **values,
        "not_assessable": not_assessable,
        SLICES: slices,
    }


def _answer(
    volume: highdicom.Volume, classifier: Baseline | LevelClassifier
) -> tuple[list[float | None] | None, str | None, CompiledVolume | None]:
    """Return what is said of a volume, or why nothing is, and its images; as `Detector.predict_case` does."""
    try:
        check_slice_spacing(float(volume.spacing[0]))
        images = compile_volume(volume, classifier.compiler)
    except NotAssessableError as error:
        return None, error.code, None
    return _said_of(images, classifier), None, images


def _said_of(images: CompiledVolume, classifier: Baseline | LevelClassifier) -> list[float | None]:
    said: list[float | None] = plain_json(classifier.probabilities(images))
    return said


def _blanked(images: CompiledVolume) -> CompiledVolume:
    """Return images whose inner three quarters are black: all of the bone."""
    sagittal = images.sagittal
    black = sagittal.images.copy()
    edge = black.shape[1] // 8
    black[:, edge:-edge, edge:-edge] = 0
    hidden = replace(sagittal, images=black)
    levels = tuple(_blank_views(views) for views in images.levels)
    return replace(images, levels=levels, make_sagittal=lambda: hidden)


def _blank_views(views: LevelViews) -> LevelViews:
    pixels, edge = views.images.copy(), views.settings.pixels // 8
    pixels[:, edge:-edge, edge:-edge] = 0
    return replace(views, images=pixels)


# --- curves ----------------------------------------------------------------------------------------------------------


def evaluate_perturbations(rows: pd.DataFrame, truth: ReferenceStandard) -> tuple[RobustnessPoint, ...]:
    """Return how accuracy falls with severity, first of scans as they are and of shortcuts.

    Parameters
    ----------
    rows : DataFrame
        Of `run_perturbations`.
    truth : Truth
        Of these studies, and of others too.

    Raises
    ------
    LabelError
        No study has labels.
    """
    known = rows[rows[STUDY].isin(truth.labels.index)]
    if known.empty:
        raise LabelError("none of the studies has labels; check that StudyInstanceUIDs agree")
    own = truth.select(truth.labels.index[truth.labels.index.isin(known[STUDY])])
    base = known[known["suite"] == UNPERTURBED].set_index(STUDY)[list(TARGETS)]
    points = [
        _point(str(part["suite"].iloc[0]), float(part["severity"].iloc[0]), part, own, base)
        for _, part in known.groupby(["suite", "severity"], sort=False)
    ]
    points.append(_slices_alone(known[known["suite"] == UNPERTURBED], own))
    order = [UNPERTURBED, BLANK, SLICES, *SUITES]
    return tuple(sorted(points, key=lambda point: (order.index(point.suite), point.severity)))


def _point(
    suite: str, severity: float, part: pd.DataFrame, truth: ReferenceStandard, base: pd.DataFrame
) -> RobustnessPoint:
    answered = part[part["not_assessable"].isna()].set_index(STUDY)[list(TARGETS)]
    not_assessable = int(part["not_assessable"].notna().sum())
    if answered.empty:
        return RobustnessPoint(suite, severity, 0, not_assessable, UNDEFINED, UNDEFINED, float("nan"))
    asked = truth.select(truth.labels.index[truth.labels.index.isin(answered.index)])
    cases = match_predictions(asked, [Predictions(suite, answered)]).cases(suite)
    off = np.abs(answered.to_numpy() - base.loc[answered.index].to_numpy())
    moved = float(np.nanmean(off)) if np.isfinite(off).any() else float("nan")
    return RobustnessPoint(
        suite, severity, len(answered), not_assessable, auc_interval(cases[OVERALL]), auc_interval(cases[LEVELS]), moved
    )


def _slices_alone(part: pd.DataFrame, truth: ReferenceStandard) -> RobustnessPoint:
    """Return how well the number of slices tells which patients are fractured, of those that could be read."""
    counts = part[part[SLICES] > 0].set_index(STUDY)[SLICES].astype(float)
    if counts.empty:
        return RobustnessPoint(SLICES, 0.0, 0, len(part), UNDEFINED, UNDEFINED, float("nan"))
    share = counts / float(counts.max())
    said = pd.DataFrame(dict.fromkeys(TARGETS, share))
    known = truth.select(truth.labels.index[truth.labels.index.isin(said.index)])
    cases = match_predictions(known, [Predictions(SLICES, said)]).cases(SLICES)
    return RobustnessPoint(
        SLICES, 0.0, len(said), len(part) - len(said), auc_interval(cases[OVERALL]), UNDEFINED, float("nan")
    )

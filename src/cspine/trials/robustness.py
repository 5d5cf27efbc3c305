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

from cspine.anatomy import OVERALL, TARGETS
from cspine.detect.baseline import Baseline
from cspine.detect.detector import DEFAULT, refuse_thick
from cspine.detect.level_reader import LevelReader
from cspine.detect.readers import load_reader
from cspine.detect.refusals import refusal_of
from cspine.errors import InputError, LabelError, NotAssessableError, OutputError, WeightsError
from cspine.evaluate.answers import Answers
from cspine.evaluate.cases import LEVELS, match
from cspine.evaluate.intervals import UNKNOWN, Interval
from cspine.evaluate.row import area_of
from cspine.evaluate.truths import Truth
from cspine.files import claim_folder, plain_json, read_json, write_json
from cspine.imaging.choice import choose_series
from cspine.imaging.geometry import MAX_GAP_MM
from cspine.imaging.layout import StudyRoot, StudySource
from cspine.imaging.loadable import check_loadable
from cspine.imaging.volume import load_volume
from cspine.labels import STUDY
from cspine.progress import Progress, silent
from cspine.reformat.level_views import LevelViews
from cspine.reformat.store import study_key
from cspine.reformat.study import CompiledVolume, compile_volume
from cspine.scale import run_over
from cspine.trials.worse import SUITES

AS_IS: Final = "as it is"
BLANK: Final = "blank"
SLICES: Final = "slices"
MARKER: Final = "robustness.json"

_ROWS: Final = "rows"


@dataclass(frozen=True)
class TrialPoint:
    """How a system does at one severity.

    Attributes
    ----------
    suite : str
        One of `SUITES`, `AS_IS`, or a shortcut.
    severity : float
        0 of scans as they are.
    answered, refused : int
        Studies.
    patients, levels : Interval
        Areas under the ROC curves.
    moved : float
        How far probabilities lie from those of the scan as it is, on average.
    """

    suite: str
    severity: float
    answered: int
    refused: int
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


def run_trials(
    root: StudyRoot,
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
    root : StudyRoot
        Where the studies lie.
    out : Path
        Gets ``rows/``, what was said of each study.
    suites : sequence of str
        Of `cspine.trials.worse.SUITES`.
    weights : sequence of str
        As `cspine.detect.readers.load_reader` takes them; those that come with cspine where empty.
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
        "weights": load_reader(*(weights or (DEFAULT,))).identity.sha256,
        "studies": str(root.path.resolve()),
    }
    claim_folder(out, MARKER, identity, remedy="choose another --out, or delete it")
    tasks = [_Task(source, chosen, tuple(weights), out) for source in root.studies]
    missing = [task for task in tasks if not task.path.is_file()]
    for outcome in run_over(_try, missing, workers=workers, progress=progress):
        if isinstance(outcome.error, (OutputError, WeightsError)):
            raise outcome.error
        if outcome.error is not None:  # one study stops nothing
            write_json(outcome.item.path, [_row(outcome.item.uid, AS_IS, 0.0, None, type(outcome.error).__name__, 0)])
    rows = [row for task in tasks for row in read_json(task.path)]
    table = pd.DataFrame(rows, columns=[STUDY, "suite", "severity", *TARGETS, "refused", SLICES])
    return table.astype(dict.fromkeys(TARGETS, float))


def _try(task: _Task) -> None:
    """Read one study in every way, in a worker."""
    write_json(task.path, list(_rows(task)))


def _rows(task: _Task) -> Iterator[dict[str, Any]]:
    reader, uid = _reader(task.weights), task.uid
    try:
        chosen = choose_series(task.source.open()).chosen
        refuse_thick(chosen.stack.spacing_mm)
        check_loadable(chosen, max_gap_mm=MAX_GAP_MM)
        volume: highdicom.Volume = load_volume(chosen)
    except (InputError, NotAssessableError) as error:
        yield _row(uid, AS_IS, 0.0, None, refusal_of(error).code, 0)
        return
    count = int(volume.spatial_shape[0])
    said, refused, images = _answer(volume, reader)
    yield _row(uid, AS_IS, 0.0, said, refused, count)
    if images is not None:
        yield _row(uid, BLANK, 0.0, _said_of(_blanked(images), reader), None, count)
    for name in task.suites:
        suite = SUITES[name]
        for severity in suite.severities:
            changed = suite.change(volume, severity, _chance(uid, name, severity))
            said, refused, _ = _answer(changed, reader)
            yield _row(uid, name, severity, said, refused, count)


@lru_cache(maxsize=1)
def _reader(weights: tuple[str, ...]) -> Baseline | LevelReader:
    return load_reader(*(weights or (DEFAULT,)))


def _chance(uid: str, suite: str, severity: float) -> np.random.Generator:
    """Return where chance comes from: the same for a study, a suite and a severity, in whatever order they come."""
    seed = hashlib.sha256(f"{uid} {suite} {severity}".encode()).digest()[:8]
    return np.random.default_rng(int.from_bytes(seed, "little"))


def _row(
    uid: str, suite: str, severity: float, said: list[float | None] | None, refused: str | None, slices: int
) -> dict[str, Any]:
    values = dict(zip(TARGETS, said or [None] * len(TARGETS), strict=True))
    return {STUDY: uid, "suite": suite, "severity": severity, **values, "refused": refused, SLICES: slices}


def _answer(
    volume: highdicom.Volume, reader: Baseline | LevelReader
) -> tuple[list[float | None] | None, str | None, CompiledVolume | None]:
    """Return what is said of a volume, or why nothing is, and its images; as `Detector.examine` does."""
    try:
        refuse_thick(float(volume.spacing[0]))
        images = compile_volume(volume, reader.compiler)
    except NotAssessableError as error:
        return None, error.code, None
    return _said_of(images, reader), None, images


def _said_of(images: CompiledVolume, reader: Baseline | LevelReader) -> list[float | None]:
    said: list[float | None] = plain_json(reader.probabilities(images))
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


def judge_trials(rows: pd.DataFrame, truth: Truth) -> tuple[TrialPoint, ...]:
    """Return how accuracy falls with severity, first of scans as they are and of shortcuts.

    Parameters
    ----------
    rows : DataFrame
        Of `run_trials`.
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
    own = truth.only(truth.labels.index[truth.labels.index.isin(known[STUDY])])
    base = known[known["suite"] == AS_IS].set_index(STUDY)[list(TARGETS)]
    points = [
        _point(str(part["suite"].iloc[0]), float(part["severity"].iloc[0]), part, own, base)
        for _, part in known.groupby(["suite", "severity"], sort=False)
    ]
    points.append(_slices_alone(known[known["suite"] == AS_IS], own))
    order = [AS_IS, BLANK, SLICES, *SUITES]
    return tuple(sorted(points, key=lambda point: (order.index(point.suite), point.severity)))


def _point(suite: str, severity: float, part: pd.DataFrame, truth: Truth, base: pd.DataFrame) -> TrialPoint:
    answered = part[part["refused"].isna()].set_index(STUDY)[list(TARGETS)]
    refused = int(part["refused"].notna().sum())
    if answered.empty:
        return TrialPoint(suite, severity, 0, refused, UNKNOWN, UNKNOWN, float("nan"))
    asked = truth.only(truth.labels.index[truth.labels.index.isin(answered.index)])
    cases = match(asked, [Answers(suite, answered)]).cases(suite)
    off = np.abs(answered.to_numpy() - base.loc[answered.index].to_numpy())
    moved = float(np.nanmean(off)) if np.isfinite(off).any() else float("nan")
    return TrialPoint(suite, severity, len(answered), refused, area_of(cases[OVERALL]), area_of(cases[LEVELS]), moved)


def _slices_alone(part: pd.DataFrame, truth: Truth) -> TrialPoint:
    """Return how well the number of slices tells which patients are fractured, of those that could be read."""
    counts = part[part[SLICES] > 0].set_index(STUDY)[SLICES].astype(float)
    if counts.empty:
        return TrialPoint(SLICES, 0.0, 0, len(part), UNKNOWN, UNKNOWN, float("nan"))
    share = counts / float(counts.max())
    said = pd.DataFrame(dict.fromkeys(TARGETS, share))
    known = truth.only(truth.labels.index[truth.labels.index.isin(said.index)])
    cases = match(known, [Answers(SLICES, said)]).cases(SLICES)
    return TrialPoint(SLICES, 0.0, len(said), len(part) - len(said), area_of(cases[OVERALL]), UNKNOWN, float("nan"))

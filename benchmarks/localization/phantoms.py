"""Run the localizer on body phantoms of the shifted domain, resumably: scans of all kinds, whose truth is exact."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmarks.localization.prediction import Point, Prediction, as_point, predict_volume
from benchmarks.localization.scoring import CaseScore, score
from benchmarks.localization.straight import straight_volume
from benchmarks.localization.truth import ScanTruth, TrueVertebra
from cspine.core.execution.parallel import parallel_map
from cspine.core.files import read_json, write_json
from cspine.core.findings import Coverage
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.localization.loading import load_localizer
from cspine.phantom.body.render import render_body_volume
from cspine.phantom.body.sampler import draw_body
from cspine.phantom.body.scan import describe_body
from cspine.phantom.body.settings import BODY_DOMAINS, BodySettings, ScanKind
from cspine.spine.spine_map import MIN_PARTIAL_FRACTION, coverage_of

DOMAIN: Final = "shifted"
"""Domain of the phantoms; no network is trained on it."""

DEVELOPMENT_SEED: Final = 18_001
"""For looking at results while the localizer is made, as often as needed; nothing that it shows is reported."""

HIDDEN_SEED: Final = 18_006
"""For the evaluation of the finished localizer, once, with `HIDDEN_SCANS` scans, or the first of them that time allows.
Later localizers take a seed of their own, since the results of this one are known; 18,002 and 18,003 were those before,
18,004 was that of the present one with 200 scans, and 18,005 that of networks that did not ship."""

HIDDEN_SCANS: Final = 400

OTHER_KINDS_SEED: Final = 18_007
"""The same for `OTHER_KINDS_SCANS` scans of kinds that neither domain has."""

OTHER_KINDS_SCANS: Final = 90

_FOLDER: Final = "phantoms"

_MIN_NAMED_FRACTION: Final = 0.02
"""A vertebra of which this much was scanned may be named; from `MIN_PARTIAL_FRACTION` on it has to be."""

_FAR_MM: Final = 60.0
"""Vertebrae farther outside the scan than this are not kept."""


class PhantomVertebra(BaseModel):
    """A vertebra of a phantom.

    Attributes
    ----------
    origin_lps_mm : (float, float, float)
        Origin of its frame.
    axes_lps : 3 x (float, float, float)
        Axes of its frame.
    scanned_fraction : float
        Which fraction of its bone was scanned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin_lps_mm: Point
    axes_lps: tuple[Point, Point, Point]
    scanned_fraction: float

    def as_true(self, level: str, min_fraction: float = MIN_PARTIAL_FRACTION) -> TrueVertebra:
        """Return what a localizer has to state about it, which has to be named where so much was scanned."""
        may_be_named = self.scanned_fraction >= _MIN_NAMED_FRACTION
        is_required = self.scanned_fraction >= min_fraction
        coverages: frozenset[Coverage] = frozenset([coverage_of(self.scanned_fraction)])
        return TrueVertebra(
            level,
            np.array(self.origin_lps_mm),
            np.array(self.axes_lps).T,
            coverages | {"absent", "partial"} if may_be_named and not is_required else coverages,
            is_required=is_required,
        )


class PhantomCase(BaseModel):
    """A phantom's prediction and truth, as they are kept in a file.

    Attributes
    ----------
    kind : str
        Kind of the scan.
    disorders : tuple of str
        What is wrong with the neck.
    prediction : Prediction
        What the localizer states.
    vertebrae : dict
        Level to vertebra, of those in the scan or near it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    disorders: tuple[str, ...]
    prediction: Prediction
    vertebrae: dict[str, PhantomVertebra]


@dataclass(frozen=True)
class PhantomRun:
    """Which phantoms are run.

    Attributes
    ----------
    out : Path
        Folder of the run.
    n_scans, seed : int
        Number of scans, and the seed that they are drawn from.
    localizer : str or None
        File or name of the localizer; the embedded one where None.
    kinds : tuple of str
        Kinds of scans, equally frequent; those of the domain where empty.
    """

    out: Path
    n_scans: int
    seed: int
    localizer: str | None = None
    kinds: tuple[ScanKind, ...] = ()

    @property
    def settings(self) -> BodySettings:
        """Distributions that the phantoms are drawn from."""
        domain = BODY_DOMAINS[DOMAIN]
        return domain.model_copy(update={"kinds": dict.fromkeys(self.kinds, 1.0)}) if self.kinds else domain

    @property
    def folder(self) -> Path:
        """Folder of the predictions."""
        return self.out / f"{_FOLDER}-{self.seed}"

    def file(self, index: int) -> Path:
        """Return the file of a phantom's prediction."""
        return self.folder / f"{index:05}.json"


def run_phantoms(run: PhantomRun, *, workers: int = 1, progress: Progress = silent) -> None:
    """Render and predict all phantoms that an earlier call did not finish.

    Raises
    ------
    OutputTakenError
        The folder holds the run of another localizer or seed, or of other kinds.
    """
    identity = {"localizer": load_localizer(run.localizer).sha256, "seed": run.seed, "domain": DOMAIN}
    if run.kinds:
        identity["kinds"] = ", ".join(run.kinds)
    ResumableJob(run.folder, "job.json", identity).open()
    outcomes = parallel_map(
        partial(_run_phantom, run),
        range(run.n_scans),
        is_done=lambda index: run.file(index).is_file(),
        workers=workers,
        stage="phantoms",
        progress=progress,
    )
    for outcome in outcomes:
        outcome.get()


def _run_phantom(run: PhantomRun, index: int) -> None:
    body, scan = draw_body(run.seed, index, run.settings)
    truth = describe_body(body, scan)
    rendered = render_body_volume(body, scan)
    volume = straight_volume(rendered.hu, rendered.affine_lps)
    low, high = scan.box_lps_mm
    vertebrae = {}
    for level, record in truth["vertebrae"].items():
        frame = np.array(record["frame"])
        if ((frame[:3, 3] > low - _FAR_MM) & (frame[:3, 3] < high + _FAR_MM)).all():
            x, y, z = (as_point(axis) for axis in frame[:3, :3].T)
            vertebrae[level] = PhantomVertebra(
                origin_lps_mm=as_point(frame[:3, 3]), axes_lps=(x, y, z), scanned_fraction=record["scanned_fraction"]
            )
    prediction = predict_volume(load_localizer(run.localizer), volume)
    case = PhantomCase(
        kind=truth["kind"], disorders=tuple(truth["disorders"]), prediction=prediction, vertebrae=vertebrae
    )
    write_json(run.file(index), case.model_dump(mode="json"))


def read_phantom_scores(run: PhantomRun, min_fraction: float = MIN_PARTIAL_FRACTION) -> list[CaseScore]:
    """Read the predictions of a run and compare them with the truth; the kind is that of the scan.

    Parameters
    ----------
    run : PhantomRun
        What was run.
    min_fraction : float
        Scanned fraction from which on a vertebra has to be named.
    """
    scores = []
    for index in range(run.n_scans):
        if run.file(index).is_file():
            case = PhantomCase.model_validate(read_json(run.file(index)))
            truth = ScanTruth({level: each.as_true(level, min_fraction) for level, each in case.vertebrae.items()})
            scores.append(score(f"{index:05}", case.kind, case.prediction, truth))
    return scores

"""Compiled views of intact necks, their variants and virtual fractures: made once, read by every level network.

Nothing here depends on the weights of a level network, only on the localizer and the settings of views. Each scan has a
compiled data set of its own, with the truth of each study beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, Literal

import highdicom
import numpy as np

from benchmarks.localization.scans import SCANS_BY_NAME
from benchmarks.localization.variants import AS_IS
from benchmarks.real_texture.run import NECKS, SEED, TextureRun
from benchmarks.real_texture.variants import VARIANTS
from cspine.core.errors import InputError, NotAssessableError
from cspine.core.execution.parallel import parallel_map
from cspine.core.files import read_json, write_json
from cspine.core.findings import WeightsIdentity
from cspine.core.identifiers import pseudonym, study_key
from cspine.core.progress import Progress, silent
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom.limits import MAX_SLICE_SPACING_MM, exceeds_mm
from cspine.dicom.study_collection import TRUTH_FOLDER
from cspine.insertion.scan import IntactScan
from cspine.insertion.settings import FORMAT, InsertionSettings
from cspine.insertion.study import Kind, render_virtual_study
from cspine.localization.compiler import Compiler
from cspine.localization.localizer import Localizer
from cspine.localization.scan import crop_about
from cspine.phantom.study import PhantomStudy
from cspine.spine.spine_map import SpineMap
from cspine.training.levels.rendered_study import RenderedStudy, finish

FOLDER: Final = "views"
_METHOD: Final = 1
"""Raised whenever variants or virtual studies of the same name change."""

StudyKind = Literal["variant", "fracture", "sham"]
"""What a study is: a variant of an intact scan, or a virtual one."""

_VIRTUAL: Final[tuple[Literal["fracture", "sham"], ...]] = ("fracture", "sham")
_IS_SCAN: Final = "is the scan itself"
_MAX_VOXELS: Final = 20_000_000
_MARGIN_MM: Final = 40.0
"""Larger scans are cropped in variants and virtual studies, to save time; this much is kept about the vertebrae."""

_REFUSAL: Final = "refusal.json"
"""Why a scan is left out: it is not assessable, or cannot be read."""


@dataclass(frozen=True)
class StatedOrientation:
    """A localizer that does not try other orientations than the headers state, which are right in these scans.

    Attributes
    ----------
    localizer : Localizer
        The localizer, which would otherwise take three times as long.
    """

    localizer: Localizer

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights."""
        return self.localizer.sha256

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record of the weights."""
        return self.localizer.identity

    def __call__(self, volume: highdicom.Volume) -> SpineMap:
        """Return the localized vertebrae."""
        return self.localizer.localize_as_stated(volume)


@dataclass(frozen=True)
class ScanViews:
    """The compiled views of one scan.

    Attributes
    ----------
    scan : str
        Name of the scan.
    dataset : CompiledDataset
        The data set, maybe unfinished.
    compiler : Compiler
        What it is compiled with.
    copies : int
        Virtual studies of each kind.
    """

    scan: str
    dataset: CompiledDataset
    compiler: Compiler
    copies: int

    @classmethod
    def of(cls, run: TextureRun, scan: str) -> "ScanViews":
        """Create the data set of a scan, or resume it."""
        settings, localizer = run.settings(scan), run.load_localizer(scan)
        compiler = Compiler(settings, StatedOrientation(localizer))
        folder = run.out / FOLDER / f"{scan}-{settings.hash[:12]}-{localizer.sha256[:12]}-{_METHOD}.{FORMAT}"
        source = f"real texture {_METHOD}, insertion {FORMAT}, seed {SEED}: {scan}"
        return cls(scan, compiler.create_dataset(folder, source=source, is_phantom=False), compiler, run.copies)

    def uid(self, kind: StudyKind, which: str | int) -> str:
        """Return the name of a study: of a variant of the scan, or of a copy of a virtual kind."""
        return f"{self.scan}.{kind}-{which}"

    @cached_property
    def refusal(self) -> str | None:
        """Why the scan is left out, where it is."""
        path = self.dataset.folder / _REFUSAL
        return str(read_json(path)["reason"]) if path.is_file() else None

    def pending(self) -> list[tuple[StudyKind, str | int]]:
        """Return kind and name of the studies that are not compiled yet."""
        return [study for study in self.plan() if self.dataset.record(study_key(self.uid(*study))) is None]

    def truth(self, uid: str) -> dict[str, Any]:
        """Return the truth of a study."""
        truth: dict[str, Any] = read_json(self.dataset.folder / TRUTH_FOLDER / f"{study_key(uid)}.json")
        return truth

    def plan(self) -> Iterator[tuple[StudyKind, str | int]]:
        """Yield kind and name, or number, of each study."""
        for variant in VARIANTS:
            yield "variant", variant.name
        if self.scan in NECKS:
            for copy in range(self.copies):
                for kind in _VIRTUAL:
                    yield kind, copy

    def is_same(self, uid: str) -> bool:
        """Return whether a variant is the scan itself, so that there are no views of it."""
        record = self.dataset.record(study_key(uid)) or {}
        return record.get("reason") == _IS_SCAN

    def is_done(self) -> bool:
        """Return whether all studies are compiled, or the scan is left out."""
        return self.refusal is not None or not self.pending()

    def write_refusal(self, reason: str) -> None:
        """Record why the scan is left out."""
        write_json(self.dataset.folder / _REFUSAL, {"reason": reason})


def prepare(run: TextureRun, *, workers: int = 1, progress: Progress = silent) -> None:
    """Compile all views that an earlier call did not finish."""
    outcomes = parallel_map(
        partial(_prepare_scan, run),
        [scan.name for scan in run.scans],
        is_done=lambda name: ScanViews.of(run, name).is_done(),
        workers=workers,
        stage="scans",
        progress=progress,
    )
    for outcome in outcomes:
        outcome.get()


def _prepare_scan(run: TextureRun, name: str) -> None:
    views = ScanViews.of(run, name)
    localizer = run.load_localizer(name)
    try:
        volume = SCANS_BY_NAME[name].load(run.real, localizer)
        if exceeds_mm(volume.spacing[0], MAX_SLICE_SPACING_MM):
            raise NotAssessableError("too-thick", f"slices are {volume.spacing[0]:.1f} mm apart")
        spine = localizer(volume)
        spine.require_cervical()
    except (InputError, NotAssessableError) as error:
        views.write_refusal(str(error))
        return
    part = volume if volume.array.size <= _MAX_VOXELS else crop_about(volume, spine, _MARGIN_MM)
    pending = views.pending()
    variants = {variant.name: variant.variant for variant in VARIANTS}
    for kind, which in pending:
        if kind == "variant":
            changed = variants[str(which)].apply(volume if which == AS_IS.name else part, {})
            _write_variant(views, str(which), changed)
    virtual = [study for study in pending if study[0] != "variant"]
    if virtual:
        scan = IntactScan.of(part, spine)
        for kind, copy in virtual:
            _write_virtual(views, scan, kind, int(copy))
    finish(views.dataset)


def _write_variant(views: ScanViews, name: str, volume: highdicom.Volume | None) -> None:
    """Compile a variant; of one that is the scan itself, only a record is kept."""
    uid = views.uid("variant", name)
    if volume is None:
        record = {"study_instance_uid": uid, "series_instance_uid": None, "patient": views.scan}
        views.dataset.write_record(study_key(uid), {**record, "status": "failed", "reason": _IS_SCAN})
        return
    unlabeled_study(uid, views.scan, name, volume).write(views.dataset, views.compiler)


def unlabeled_study(uid: str, patient: str, variant: str, volume: highdicom.Volume) -> RenderedStudy:
    """Return a variant of a scan as a study without truth."""
    empty = np.zeros(volume.spatial_shape, np.uint8)
    truth = {"kind": "variant", "variant": variant, "levels": [], "fractures": []}
    study = PhantomStudy(volume.array, volume.affine, empty, float(volume.spacing[0]), False, empty, truth)
    return RenderedStudy(uid, patient, study, volume)


def _write_virtual(views: ScanViews, scan: IntactScan, kind: StudyKind, copy: int) -> None:
    """Make and compile a study with virtual fractures, or with shams in their places."""
    virtual: Kind = "sham" if kind == "sham" else "fracture"
    rng = np.random.default_rng([SEED, copy, int(pseudonym(None, views.scan), 16)])
    thickness_mm = float(scan.grid.spacing_mm[0])
    study = render_virtual_study(scan, virtual, InsertionSettings(), rng, thickness_mm=thickness_mm)
    volume = highdicom.Volume(study.hu, study.affine_lps, "PATIENT")
    RenderedStudy(views.uid(kind, copy), views.scan, study, volume).write(views.dataset, views.compiler)

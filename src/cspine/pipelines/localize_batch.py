"""Localize a batch: the vertebrae of one study in a folder, or of many in a folder each."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import Field

import cspine
from cspine.core.errors import CspineError, memory_errors
from cspine.core.execution.execution import Execution, Workers
from cspine.core.execution.parallel import parallel_map
from cspine.core.execution.shard_records import ShardRecord, remove_records
from cspine.core.files import output_errors, write_json, write_text
from cspine.core.findings import NotAssessable, SoftwareIdentity, Spine
from cspine.core.identifiers import study_key
from cspine.core.jobs import ResumableJob
from cspine.core.not_assessable import FAILED
from cspine.core.progress import Progress, silent
from cspine.core.settings import Settings, digest
from cspine.core.storage.locations import recorded_name
from cspine.dicom.loading import LoadPolicy
from cspine.dicom.study_collection import StudySource, open_collection
from cspine.localization.loading import load_localizer
from cspine.localization.localizer import Localizer
from cspine.localization.segmented.numbering import Numbering
from cspine.localization.segmented.study_files import SegmentationFiles
from cspine.models.memory import freed_memory_released
from cspine.models.providers import ProviderName, provider_of
from cspine.pipelines.case_folder import SOURCE_FILE
from cspine.pipelines.localize import localize_study
from cspine.reports.images.spine_picture import write_spine_picture

SPINE_FILE: Final = "spine.json"
PICTURE_FILE: Final = "spine.png"
MARKER: Final = "localize.json"

_LOGGER: Final = logging.getLogger(__name__)


class LocalizeSettings(Settings):
    """What localizes the vertebrae, and where it runs."""

    localizer: str | None = Field(None, description="Name or ONNX file of a localizer; the embedded one where null.")
    provider: ProviderName | None = Field(
        None, description="Execution provider of ONNX Runtime; that of the environment, or the CPU, where null."
    )
    vertebrae: str | None = Field(None, description="Segmentation in the localizer's place.")
    vertebrae_labels: Numbering = Field("auto", description="Which values of the segmentation are which vertebrae.")

    def open_segmentations(self, n_studies: int) -> SegmentationFiles | None:
        """Return the segmentation in the localizer's place, of so many studies; None where there is none."""
        if self.vertebrae is None:
            return None
        return SegmentationFiles.open(self.vertebrae, self.vertebrae_labels, n_studies=n_studies)


def localize_batch(
    path: str | Path,
    out: str | Path | None = None,
    settings: LocalizeSettings = LocalizeSettings(),  # noqa: B008 - immutable
    *,
    policy: LoadPolicy = LoadPolicy(),  # noqa: B008 - immutable
    workers: Workers = 1,
    progress: Progress = silent,
) -> list[Spine]:
    """Localize the vertebrae of every study at a path, and write them where a folder is given.

    An interrupted run is resumed by the same call.

    Parameters
    ----------
    path
        As of `cspine.pipelines.predict_batch.predict_batch`.
    out : str or Path, optional
        Receives ``spine.json`` and ``spine.png``; of many studies each has a folder of its own.
    settings : LocalizeSettings
        What localizes, and where it runs.
    policy : LoadPolicy
        Which series is read, and within which limits.
    workers : int or Execution
        Number of processes, or how the studies are spread.
    progress
        As of `cspine.pipelines.predict_batch.predict_batch`.

    Returns
    -------
    list of Spine
        One per study, those that are not assessable or that crashed included; of a shard, those of its studies.

    Raises
    ------
    SourceError, ArchiveError, WeightsError, OutputTakenError, DiskFullError, OutputError
        As by `cspine.pipelines.predict_batch.predict_batch`.
    """
    execution, shard = Execution.of(workers), None
    path, folder = execution.locate(path), None if out is None else execution.locate(out)
    if settings.vertebrae is not None:
        settings = settings.model_copy(update={"vertebrae": str(execution.locate(settings.vertebrae))})
    studies = open_collection(path, progress=progress).studies
    network = load_localizer(settings.localizer, provider=settings.provider, threads=0 if len(studies) == 1 else 1)
    files = settings.open_segmentations(len(studies))
    execution = execution.of_studies(len(studies))
    if folder is not None:
        identity = {
            "kind": "localize",
            "software": cspine.__version__.partition("+")[0],  # a commit more is no other job
            "path": recorded_name(path),
            "weights": network.sha256,
            **({} if files else provider_of(network.identity)),
        }
        identity |= files.job if files else {}
        ResumableJob(folder, MARKER, identity).open()
        uids = [source.study_instance_uid for source in studies]
        shard = ShardRecord.begin(folder, execution.shard, uids, {"is_single": len(studies) == 1})
    tasks = [
        _Task(source, folder, network, files, policy, is_single=len(studies) == 1)
        for source in execution.select(studies, lambda source: source.study_instance_uid)
    ]
    if len(studies) == 1:
        spines = [task.read() or _localize(task, progress) for task in tasks]
    else:
        spines = _localize_many(tasks, execution, progress)
    if shard is not None and folder is not None:
        reasons = [(spine.study_instance_uid, spine.not_assessable) for spine in spines if is_failed(spine)]
        failed = [(uid, reason.reason) for uid, reason in reasons if reason is not None]
        shard.finish(folder, {"failed": failed})
    elif folder is not None:
        remove_records(folder)
    return spines


def is_failed(spine: Spine) -> bool:
    """Return whether the localization of a study crashed, which is no answer: the next run tries it again."""
    return spine.not_assessable is not None and spine.not_assessable.code == FAILED


@dataclass(frozen=True)
class _Task:
    """What a worker needs to localize one study."""

    source: StudySource
    out: Path | None
    network: Localizer
    files: SegmentationFiles | None
    policy: LoadPolicy
    is_single: bool

    @property
    def folder(self) -> Path | None:
        """The study's folder; None where nothing is written."""
        if self.out is None or self.is_single:
            return self.out
        return self.out / study_key(self.source.study_instance_uid)

    @cached_property
    def key(self) -> str:
        """Hash of what the result depends on beside the weights: the files, and how they are read."""
        uid = self.source.study_instance_uid
        parts: list[object] = [self.source.fingerprint().digest, self.policy.series_uid, self.policy.max_gap_mm]
        return digest([*parts, self.files.fingerprint(uid)] if self.files else parts)

    def read(self) -> Spine | None:
        """Return what an earlier run wrote; None if it is incomplete, or of other files."""
        if self.folder is None:
            return None
        try:
            if json.loads((self.folder / SOURCE_FILE).read_bytes()) != {"job": self.key}:
                return None
            return Spine.model_validate_json((self.folder / SPINE_FILE).read_bytes())
        except (OSError, ValueError):
            return None


def _localize_many(tasks: Sequence[_Task], execution: Execution, progress: Progress) -> list[Spine]:
    """Return the spines in the order of the tasks: those of an earlier run, and those that are localized now."""
    spines = {task.source.study_instance_uid: task.read() for task in tasks}
    outcomes = parallel_map(
        _localize,
        tasks,
        is_done=lambda task: spines[task.source.study_instance_uid] is not None,
        written=lambda task: task.folder / SPINE_FILE if task.folder else None,
        workers=execution,
        progress=progress,
    )
    for outcome in outcomes:
        task = outcome.item
        spine = outcome.value if outcome.error is None else _failed_spine(task, outcome.error)
        spines[task.source.study_instance_uid] = spine
    return [spine for spine in spines.values() if spine is not None]


@freed_memory_released()
def _localize(task: _Task, progress: Progress = silent) -> Spine:
    """Localize one study and write it; the spine comes last, so that its presence means that it is complete."""
    uid = task.source.study_instance_uid
    with memory_errors(f"study {uid}"):
        finder = task.files.of_study(uid) if task.files else task.network
        result = localize_study(task.source, finder, task.policy, progress=progress)
        if task.folder is not None:
            write_spine_picture(result, task.folder / PICTURE_FILE)
            with output_errors(task.folder):  # an earlier answer must not stand beside the record of this one
                (task.folder / SPINE_FILE).unlink(missing_ok=True)
            write_json(task.folder / SOURCE_FILE, {"job": task.key})
            write_text(task.folder / SPINE_FILE, result.spine.model_dump_json(indent=2) + "\n")
    return result.spine


def _failed_spine(task: _Task, error: Exception) -> Spine:
    """Return the spine of a study whose localization crashed; nothing is written, so that the next run tries again."""
    _LOGGER.warning("the localization of a study failed (%s)", type(error).__name__)
    reason = str(error) if isinstance(error, CspineError) else f"the localization failed ({type(error).__name__})"
    return Spine(
        study_instance_uid=task.source.study_instance_uid,
        not_assessable=NotAssessable(code=FAILED, reason=f"{reason}; run again, and report it if it persists"),
        software=SoftwareIdentity(version=cspine.__version__),
        weights=task.network.identity,
    )

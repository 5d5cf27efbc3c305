"""Writes a phantom data set in the layout of the RSNA 2022 challenge.

::

    OUT/
      phantom.json               the job that wrote it; marks the data set as a phantom
      train.csv                  labels
      train_images/UID/N.dcm     slices
      train_bounding_boxes.csv   a box per fracture and slice, in pixels
      segmentations/UID.nii      vertebrae, numbered as in the challenge
      fractures/UID.nii.gz       fractures, by their mask_value in the truth; of studies with fractures
      truth/UID.json             all other truth; see `cspine.phantom.truth`
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.core.execution.execution import Execution, Workers
from cspine.core.execution.parallel import parallel_map
from cspine.core.execution.shard_records import ShardRecord, remove_records
from cspine.core.files import complete_files, read_json
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.dicom.study_collection import PHANTOM_MARKER, TRUTH_FOLDER
from cspine.phantom.rsna_files import count_fractured, truth_path, write_study_files, write_tables
from cspine.phantom.scanner.dicom import Identity, draw_write_options
from cspine.phantom.settings import GENERATOR, PhantomSettings, random_stream
from cspine.phantom.study import render_study

_FORMAT: Final = 2
"""Format of the data set. Format 1, of cspine 0.1, had other fields in its reference standard."""


@dataclass(frozen=True)
class SynthSummary:
    """Result of `synthesize`.

    Attributes
    ----------
    studies : int
        Number of studies in the data set.
    made_now : int
        Number of studies that this call wrote; the others were there before.
    fractured : int
        Number of studies with at least one fracture.
    bytes : int
        Total size of the DICOM files in bytes.
    """

    studies: int
    made_now: int
    fractured: int
    bytes: int


@dataclass(frozen=True)
class _Task:
    out: Path
    seed: int
    index: int
    settings: PhantomSettings

    @property
    def identity(self) -> Identity:
        return Identity(self.seed, self.index, self.settings.domain)

    @property
    def study_uid(self) -> str:
        return self.identity.study_uid


def synthesize(
    out: str | Path,
    *,
    studies: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: Workers = 1,
    progress: Progress = silent,
) -> SynthSummary:
    """Write a phantom data set; an interrupted call is resumed.

    Parameters
    ----------
    out : str or Path
        Folder of the data set.
    studies : int
        Number of studies; study i does not depend on it.
    seed : int
        The same seed gives the same studies.
    settings : PhantomSettings, optional
        Distributions to draw from; the source domain by default.
    workers : int or Execution
        Number of processes, or how the studies are spread; they do not depend on it. A shard writes its studies and no
        tables; `cspine.pipelines.cluster.merge.merge_shards` writes them.
    progress : Progress
        Called with the number of studies written.

    Returns
    -------
    SynthSummary
        Of a shard, only its own studies are counted.

    Raises
    ------
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    execution = Execution.of(workers).of_studies(studies)
    out = execution.locate(out)
    settings = settings or PhantomSettings()
    identity = {
        "format": _FORMAT,
        "kind": "phantom",
        "generator": GENERATOR,
        "seed": seed,
        "studies": studies,
        "settings": settings.model_dump(mode="json"),
    }
    ResumableJob(out, PHANTOM_MARKER, identity).open()
    tasks = [_Task(out, seed, index, settings) for index in range(studies)]
    shard = ShardRecord.begin(out, execution.shard, [task.study_uid for task in tasks])
    tasks = execution.select(tasks, lambda task: task.study_uid)
    written = {path.stem for path in complete_files(out / TRUTH_FOLDER, "*.json")}
    outcomes = parallel_map(
        _write_study,
        tasks,
        is_done=lambda task: task.study_uid in written,
        written=lambda task: truth_path(out, task.study_uid),
        workers=execution,
        progress=progress,
    )
    made_now = 0
    for outcome in outcomes:
        outcome.get()
        made_now += 1
    truths = [read_json(truth_path(out, task.study_uid)) for task in tasks]
    if shard is not None:
        shard.finish(out)
        n_fractured = count_fractured(truths)
    else:
        n_fractured = write_tables(truths, out)
        remove_records(out)
    return SynthSummary(len(tasks), made_now, n_fractured, sum(int(truth["bytes"]) for truth in truths))


def _write_study(task: _Task) -> None:
    """Render and write one study in a worker process."""
    study = render_study(task.seed, task.index, task.settings)
    options = draw_write_options(random_stream(task.seed, task.index, task.settings, 1), task.settings)
    write_study_files(study, task.identity, options, task.out)

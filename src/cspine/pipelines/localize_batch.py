"""Localize a batch: the vertebrae of one study in a folder, or of many in a folder each."""

from pathlib import Path
from typing import Final

from pydantic import Field

from cspine.core.errors import memory_errors
from cspine.core.files import write_text
from cspine.core.findings import Spine
from cspine.core.identifiers import study_key
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.settings import Settings
from cspine.core.storage.locations import as_path
from cspine.dicom.loading import LoadPolicy
from cspine.dicom.study_collection import open_collection
from cspine.localization.loading import load_localizer
from cspine.localization.segmented.numbering import Numbering
from cspine.localization.segmented.study_files import SegmentationFiles
from cspine.models.providers import ProviderName
from cspine.pipelines.localize import localize_study
from cspine.reports.images.spine_picture import write_spine_picture

SPINE_FILE: Final = "spine.json"
PICTURE_FILE: Final = "spine.png"
MARKER: Final = "localize.json"


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
    progress: Progress = silent,
) -> list[Spine]:
    """Localize the vertebrae of every study at a path, and write them where a folder is given.

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
    progress
        As of `cspine.pipelines.predict_batch.predict_batch`.

    Returns
    -------
    list of Spine
        One per study; those that are not assessable are included.

    Raises
    ------
    SourceError, ArchiveError, WeightsError, OutputTakenError, DiskFullError, OutputError
        As by `cspine.pipelines.predict_batch.predict_batch`.
    """
    path, folder = as_path(path), None if out is None else as_path(out)
    studies = open_collection(path, progress=progress).studies
    network = load_localizer(settings.localizer, provider=settings.provider)
    files = settings.open_segmentations(len(studies))
    if folder is not None:
        identity = {"kind": "localize", "path": str(path.resolve()), "weights": network.sha256}
        identity |= files.job if files else {}
        ResumableJob(folder, MARKER, identity).open()
    is_single, spines = len(studies) == 1, []
    for done, source in enumerate(studies):
        if not is_single:
            progress("studies", done, len(studies))
        with memory_errors(f"study {source.study_instance_uid}"):
            finder = files.of_study(source.study_instance_uid) if files else network
            result = localize_study(source, finder, policy, progress=progress if is_single else silent)
        spines.append(result.spine)
        if folder is not None:
            case_folder = folder if is_single else folder / study_key(source.study_instance_uid)
            write_text(case_folder / SPINE_FILE, result.spine.model_dump_json(indent=2) + "\n")
            write_spine_picture(result, case_folder / PICTURE_FILE)
    if not is_single:
        progress("studies", len(studies), len(studies))
    return spines

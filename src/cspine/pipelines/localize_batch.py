"""Where vertebrae were found, in folders: one study in the folder itself, many in one folder each."""

from pathlib import Path
from typing import Final

from cspine.core.files import open_run_directory, write_text
from cspine.core.findings import Spine
from cspine.core.identifiers import study_key
from cspine.core.progress import Progress, silent
from cspine.dicom.study_collection import open_collection
from cspine.localization.localizer import Localizer
from cspine.pipelines.localize import localize_study
from cspine.reports.images.spine_picture import write_spine_picture

SPINE_FILE: Final = "spine.json"
PICTURE_FILE: Final = "spine.png"
MARKER: Final = "localize.json"


def locate_studies(
    path: Path,
    localizer: Localizer,
    out: Path | None = None,
    *,
    series_uid: str | None = None,
    max_gap_mm: float,
    progress: Progress = silent,
) -> list[Spine]:
    """Find the vertebrae of every study at `path`, and write them where a folder is given.

    Parameters
    ----------
    path : Path
        One study or many.
    localizer : Localizer
        Finds them.
    out : Path, optional
        Gets ``spine.json`` and ``spine.png``; for many studies these are in a folder per study.
    series_uid, max_gap_mm
        As `localize_study` takes them.
    progress : Progress
        Told how many studies are done, or about one study's decoding.

    Returns
    -------
    list of Spine
        One per study, refused ones included.

    Raises
    ------
    SourceError, ArchiveError
        Nothing readable is there.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    studies = open_collection(path, progress=progress).studies
    if out is not None:
        identity = {"kind": "localize", "path": str(path.resolve()), "weights": localizer.weights.sha256}
        open_run_directory(out, MARKER, identity, remedy="choose another --out, or delete it")
    several, spines = len(studies) > 1, []
    for done, source in enumerate(studies):
        if several:
            progress("studies", done, len(studies))
        location = localize_study(
            source,
            localizer,
            series_uid=series_uid,
            max_gap_mm=max_gap_mm,
            progress=silent if several else progress,
        )
        spines.append(location.spine)
        if out is not None:
            folder = out / study_key(location.spine.study_instance_uid) if several else out
            write_text(folder / SPINE_FILE, location.spine.model_dump_json(indent=2) + "\n")
            write_spine_picture(location, folder / PICTURE_FILE)
    if several:
        progress("studies", len(studies), len(studies))
    return spines

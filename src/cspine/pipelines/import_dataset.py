"""Import: somebody's data set in, its truth in one form out; images stay where they lie, unless asked otherwise."""

import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import BOX_COLUMNS, STUDY
from cspine.core.errors import InputError
from cspine.core.execution.parallel import parallel_map
from cspine.core.files import read_json, write_json, write_text
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import as_path, refuse_remote
from cspine.core.text import counted
from cspine.datasets.duplicates import Duplicate, Key, find_duplicates, group_patients
from cspine.datasets.rsna2022_labels import read_boxes
from cspine.datasets.scan_records import read_scan_records, scan_record
from cspine.dicom.files.manifest import IMPORT_MARKER, MANIFEST_FILE, PATH, PATIENT, write_manifest
from cspine.dicom.study_collection import BOXES_FILE, LABELS_FILE, PHANTOM_MARKER
from cspine.importing.case import FoundCases
from cspine.importing.cases import AddedLabels, find_cases
from cspine.importing.data_source import KNOWN_SOURCES, DataSource, ImageMode, Layout
from cspine.importing.import_case import ImportTask, import_case
from cspine.importing.scan_hash import SCAN_HASH
from cspine.pipelines.compile import error_sentence

_LOGGER: Final = logging.getLogger(__name__)

FORMAT: Final = 1
"""Format of imported data sets: raised with every change of files or columns."""

_COLUMNS: Final = [
    STUDY, PATH, PATIENT, "case", "official_part", "fractured", "levels", "cut_levels", "content_sha256", "warnings",
]  # fmt: skip


@dataclass(frozen=True)
class ImportSummary:
    """What an import did.

    Attributes
    ----------
    imported, resumed : int
        Studies in the data set, and how many of them an earlier run had imported.
    with_vertebrae, with_labels, with_unknown_levels : int
        How many have masks of vertebrae, all eight labels, or a fracture of an unknown level.
    left_out, failed : tuple of (str, str)
        Name and reason of studies that are not of the neck, and that could not be imported.
    duplicates : tuple of Duplicate
        Scans that occur twice, within the data set or in those beside it.
    warnings : tuple of str
        Sentences about files of the data set.
    """

    imported: int
    resumed: int
    with_vertebrae: int
    with_labels: int
    with_unknown_levels: int
    left_out: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]
    duplicates: tuple[Duplicate, ...]
    warnings: tuple[str, ...]


def import_dataset(  # noqa: PLR0913 - the options of `cspine import`
    layout: Layout,
    source: str | Path,
    out: str | Path,
    data_source: DataSource | None = None,
    added: AddedLabels = AddedLabels(),  # noqa: B008 - immutable
    *,
    images: ImageMode = "refer",
    beside: Sequence[str | Path] = (),
    workers: int = 1,
    progress: Progress = silent,
) -> ImportSummary:
    """Import a data set; an interrupted call is resumed.

    Parameters
    ----------
    layout : str
        Layout of the data set.
    source : str or Path
        Its root.
    out : str or Path
        Folder for labels, masks and manifest.
    data_source : DataSource, optional
        Name, license and citation; needed of the layout ``nifti``, and known of the others.
    added : AddedLabels
        Masks and labels that do not lie within the data set.
    images : str
        Whether images stay where they lie, are linked, or are copied.
    beside : sequence of str or Path
        Data sets imported before: patients that occur in them keep the pseudonyms that they have there.
    workers : int
        Number of processes.
    progress : Progress
        Called with the number of studies imported.

    Raises
    ------
    SourceError, LabelError, InputError
        There is no such data set, or its tables are damaged; a study that cannot be imported is no error.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    source, out = as_path(source), as_path(out)
    for option, path in {"source": source, "--out": out, **added.paths}.items():
        refuse_remote(option, path)
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{out}: lies within the data set; choose an --out outside of {source}")
    data_source = data_source or KNOWN_SOURCES.get(layout)
    if data_source is None:
        raise InputError(f"{source}: of the layout {layout} nobody else knows the license; give a data_source")
    earlier = [record for folder in beside for record in read_scan_records(as_path(folder))]
    found = find_cases(layout, source, added, data_source.name)
    ResumableJob(out, IMPORT_MARKER, _identity(layout, source, data_source, added, images)).open()
    if (source / PHANTOM_MARKER).is_file():
        shutil.copyfile(source / PHANTOM_MARKER, out / PHANTOM_MARKER)
    tasks = [ImportTask.of(case, layout, source, out, images) for case in found.cases]
    earlier_ones = _read_records(tasks)
    if len(earlier_ones) < len(tasks):
        (out / MANIFEST_FILE).unlink(missing_ok=True)
    failed = []
    for outcome in parallel_map(
        import_case, tasks, is_done=lambda task: task.case.study in earlier_ones, workers=workers, progress=progress
    ):
        if outcome.error is not None:
            failed.append((outcome.item.case.name, error_sentence(outcome.error)))
            _LOGGER.info("study %s failed", outcome.item.case.study)
    records = list(_read_records(tasks).values())
    imported = [record for record in records if record["status"] == "imported"]
    mine = [scan_record(str(out.resolve()), record) for record in imported]
    duplicates = find_duplicates([*earlier, *mine])
    _adopt_patients(imported, tasks, group_patients([*earlier, *mine], duplicates), str(out.resolve()))
    _write_tables(out, imported, found)
    return ImportSummary(
        imported=len(imported),
        resumed=len(earlier_ones),
        with_vertebrae=sum(bool(record["vertebrae"]) for record in imported),
        with_labels=sum(_is_labeled(record) for record in imported),
        with_unknown_levels=sum((record["targets"] or {}) == {OVERALL: 1} for record in imported),
        left_out=tuple((record["case"], record["reason"]) for record in records if record["status"] != "imported"),
        failed=tuple(failed),
        duplicates=tuple(each for each in duplicates if each.second.data_set == str(out.resolve())),
        warnings=found.warnings,
    )


def _identity(
    layout: Layout, source: Path, data_source: DataSource, added: AddedLabels, images: ImageMode
) -> dict[str, Any]:
    """Return what tells an import from others, which the marker keeps."""
    return {
        "format": FORMAT,
        "kind": "imported",
        "layout": layout,
        "source": str(source.resolve()),
        "images": images,
        "images_root": str(source.resolve()) if images == "refer" else ".",
        "data_source": data_source.model_dump(mode="json"),
        "added": {name: str(value) for name, value in vars(added).items() if value is not None},
        "hash": SCAN_HASH,
    }


def _read_records(tasks: Sequence[ImportTask]) -> dict[str, dict[str, Any]]:
    """Return the records of studies that are imported, by study, of the present state of their files and labels."""
    records = {}
    for task in tasks:
        with suppress(InputError):  # a damaged record is written again
            record = read_json(task.record_path) if task.record_path.is_file() else {}
            if record.get("fingerprint") == task.fingerprint:
                records[task.case.study] = record
    return records


def _adopt_patients(
    records: list[dict[str, Any]], tasks: Sequence[ImportTask], patients: dict[Key, str], data_set: str
) -> None:
    """Give studies the patients that they have in data sets beside this one."""
    path_of = {task.case.study: task.record_path for task in tasks}
    for record in records:
        patient = patients[data_set, record["study"]]
        if patient != record[PATIENT]:
            record[PATIENT] = patient
            write_json(path_of[record["study"]], record)


def _is_labeled(record: dict[str, Any]) -> bool:
    """Return whether all eight labels of a study are known."""
    return record["targets"] is not None and set(record["targets"]) == set(TARGETS)


def _write_tables(out: Path, records: list[dict[str, Any]], found: FoundCases) -> None:
    """Write manifest, labels and bounding boxes of the studies that were imported."""
    rows = [_manifest_row(record) for record in records]
    labels = [
        {STUDY: record["study"]} | {target: record["targets"][target] for target in TARGETS}
        for record in sorted(records, key=lambda record: str(record["study"]))
        if _is_labeled(record)
    ]
    for name in (LABELS_FILE, BOXES_FILE):
        (out / name).unlink(missing_ok=True)
    if labels:
        table = pd.DataFrame(labels, columns=[STUDY, *TARGETS])
        write_text(out / LABELS_FILE, table.to_csv(index=False, lineterminator="\n"))
    if found.boxes_path is not None:
        boxes = read_boxes(found.boxes_path)
        kept = boxes[boxes[STUDY].isin([record["study"] for record in records])].drop_duplicates()
        if len(kept):
            write_text(out / BOXES_FILE, kept[[STUDY, *BOX_COLUMNS]].to_csv(index=False, lineterminator="\n"))
    write_manifest(out, rows, _COLUMNS)  # last: a data set with a manifest is finished


def _manifest_row(record: dict[str, Any]) -> dict[str, Any]:
    vertebrae = record["vertebrae"]
    return {
        STUDY: record["study"],
        PATH: record["path"],
        PATIENT: record["patient"],
        "case": record["case"],
        "official_part": record["official_part"],
        "fractured": (record["targets"] or {}).get(OVERALL, ""),
        "levels": " ".join(level for level in vertebrae if level in VERTEBRAE or level[0] in "TL"),
        "cut_levels": " ".join(level for level, each in vertebrae.items() if each["is_cut"]),
        "content_sha256": record["content_sha256"],
        "warnings": counted(len(record["warnings"]), "warning", "warnings") if record["warnings"] else "",
    }

"""Findings and reports in folders: one study in the folder itself, many in one folder each with a worklist."""

from pathlib import Path
from typing import Final

import pandas as pd

from cspine.anatomy import OVERALL
from cspine.detect.detector import Detector, Examination
from cspine.files import claim_folder, write_text
from cspine.findings import Findings
from cspine.imaging.layout import open_root
from cspine.progress import Progress, silent
from cspine.reformat.store import study_key
from cspine.report.html import write_report

FINDINGS_FILE: Final = "findings.json"
REPORT_FILE: Final = "report.html"
WORKLIST_FILE: Final = "worklist.csv"
MARKER: Final = "predict.json"


def write_studies(
    detector: Detector,
    path: Path,
    out: Path,
    *,
    series_uid: str | None = None,
    max_gap_mm: float,
    progress: Progress = silent,
) -> list[Findings]:
    """Read every study at `path` and write what was found.

    Parameters
    ----------
    detector : Detector
        Reads the studies.
    path : Path
        One study or many.
    out : Path
        Gets ``findings.json`` and ``report.html``; for many studies these are in a folder per study, beside
        ``worklist.csv``.
    series_uid, max_gap_mm
        As `Detector.examine` takes them.
    progress : Progress
        Told how many studies are done, or about one study's decoding.

    Returns
    -------
    list of Findings
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
    studies = open_root(path, progress=progress).studies
    identity = {
        "kind": "predict",
        "path": str(path.resolve()),
        "weights": detector.reader.identity.sha256,
        "localizer": detector.localizer.sha256 if detector.localizer else None,
        "flips": detector.flips,
    }
    claim_folder(out, MARKER, identity, remedy="choose another --out, or delete it")
    several = len(studies) > 1
    findings = []
    for done, source in enumerate(studies):
        if several:
            progress("studies", done, len(studies))
        examination = detector.examine(
            source, series_uid=series_uid, max_gap_mm=max_gap_mm, progress=silent if several else progress
        )
        folder = out / study_key(examination.findings.study_instance_uid) if several else out
        write_examination(examination, folder)
        findings.append(examination.findings)
    if several:
        progress("studies", len(studies), len(studies))
        write_text(out / WORKLIST_FILE, worklist(findings).to_csv(index=False))
    return findings


def write_examination(examination: Examination, folder: Path) -> None:
    """Write one study's ``findings.json`` and ``report.html``; raises as `write_studies` does."""
    write_text(folder / FINDINGS_FILE, examination.findings.model_dump_json(indent=2) + "\n")
    write_report(examination, folder / REPORT_FILE)


def worklist(findings: list[Findings]) -> pd.DataFrame:
    """Return one row per study, the most suspicious first and refused ones last."""
    rows = [
        {
            "study_instance_uid": study.study_instance_uid,
            OVERALL: study.patient_overall.probability if study.patient_overall else None,
            **{vertebra.level: vertebra.probability for vertebra in study.vertebrae},
            "refused": study.refused.code if study.refused else None,
            "reason": study.refused.reason if study.refused else None,
            "statement": study.statement,
        }
        for study in findings
    ]
    table = pd.DataFrame(rows)
    for column in ("study_instance_uid", "reason"):
        table[column] = table[column].map(_no_formula, na_action="ignore")
    return table.sort_values([OVERALL, "study_instance_uid"], ascending=[False, True], na_position="last")


def _no_formula(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula: file names and UIDs come from the files."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text

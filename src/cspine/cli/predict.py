"""``cspine predict``: a CT becomes findings and a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import (
    DONE,
    SOME_FAILED,
    app,
    escape_control_characters,
    handle_errors,
    out,
    print_json,
    progress_bar,
    say,
    say_error,
    say_research_only,
)
from cspine.cli.options import MAX_GAP, WORKERS, Json, Localizer, MaxGap, SeriesUid, Workers

if TYPE_CHECKING:
    from cspine.core.findings import Findings

_EPILOG = "Examples:  cspine predict study/ --out result   |   cspine predict study.zip --out result --weights w.onnx"


@app.command("predict", epilog=_EPILOG)
@handle_errors
def predict_command(
    path: Annotated[Path, typer.Argument(help="A study: a folder, a zip or a file; or a folder of many studies.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for findings.json and report.html.")],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            help="A name that `cspine weights` lists, or an ONNX file of cspine train; repeated, answers are averaged.",
            show_default="levels",
        ),
    ] = None,
    localizer: Localizer = None,
    tta: Annotated[bool, typer.Option("--tta", help="Look at each neck in a mirror too, and average.")] = False,
    series: SeriesUid = None,
    max_gap_mm: MaxGap = MAX_GAP,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Write dicom/ too: structured report, segmentations, captures, key images.")
    ] = False,
    fhir: Annotated[bool, typer.Option("--fhir", help="Write fhir.json too: a FHIR R5 Bundle.")] = False,
    workers: Workers = WORKERS,
    max_wait_min: Annotated[
        float,
        typer.Option("--max-wait-min", min=0.0, help="Minutes of waiting that go before urgency."),
    ] = 60.0,
    as_json: Json = False,
) -> int:
    """Read a study and write findings.json and report.html.

    For many studies each gets a folder of its own, and worklist.html and worklist.csv list them, the urgent first; an
    interrupted run goes on where it stopped. Exit code 1 says that a study was refused, or that not all could be
    written of one; the worklist says why.
    """
    from cspine.pipelines.predict_batch import SKIPPED_FILES_FILE, PredictSettings, any_incomplete, predict_batch

    settings = PredictSettings(
        weights=tuple(weights or ()),
        localizer=localizer,
        tta=tta,
        series_uid=series,
        max_gap_mm=max_gap_mm,
        dicom=dicom,
        fhir=fhir,
    )
    with progress_bar() as progress:
        results = predict_batch(path, out_dir, settings, workers=workers, max_wait_min=max_wait_min, progress=progress)
    findings = [result.findings for result in results]
    if as_json:
        print_json([study.model_dump(mode="json") for study in findings])
    elif len(findings) == 1:
        show_findings(findings[0])
        say(f"report: {out_dir / 'report.html'}")
    else:
        not_assessable = sum(study.not_assessable is not None for study in findings)
        suspicious = sum(result.is_suspicious for result in results)
        say(f"{len(findings)} studies, {suspicious} suspicious, {not_assessable} without an answer")
        say(f"Open the worklist:  {out_dir / 'worklist.html'}")
    skipped = out_dir / SKIPPED_FILES_FILE
    if len(findings) > 1 and skipped.is_file():
        lines = skipped.read_text(encoding="utf-8").splitlines()
        say_error(
            f"{len(lines)} files were skipped, first: {escape_control_characters(lines[0])}; see {skipped}"
        )
    for sentence in [sentence for result in results for sentence in result.not_written]:
        say_error(sentence)
    say_research_only()
    return SOME_FAILED if any_incomplete(results) else DONE


def show_findings(findings: "Findings") -> None:
    """Print a study's probabilities as a table, or why there are none."""
    from rich.table import Table

    from cspine.core.findings import assessment_label

    if findings.series_reasons:
        out.print(f"read: {escape_control_characters(', '.join(findings.series_reasons))}", soft_wrap=True)
    if findings.not_assessable is not None or findings.patient_overall is None:
        say_error(f"no answer: {findings.not_assessable.reason if findings.not_assessable else 'not_assessable'}")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("level")
    table.add_column("probability", justify="right")
    table.add_column("")
    table.add_column("scanned")
    table.add_column("remarks")
    overall = findings.patient_overall
    said = "; ".join(filter(None, [assessment_label(overall.operating_points_reached), *overall.reasons]))
    table.add_row("C1-C7, any", *_bar(overall.probability), "", escape_control_characters(said))
    for vertebra in findings.vertebrae:
        said = "; ".join(filter(None, [assessment_label(vertebra.operating_points_reached), *vertebra.reasons]))
        table.add_row(
            vertebra.level, *_bar(vertebra.probability), vertebra.coverage or "", escape_control_characters(said)
        )
    out.print(table)
    for warning in findings.warnings:
        out.print(f"warning: {escape_control_characters(warning)}", style="yellow", soft_wrap=True)


def _bar(probability: float | None) -> tuple[str, str]:
    if probability is None:
        return "-", ""
    return f"{100 * probability:.1f} %", "█" * round(30 * probability)

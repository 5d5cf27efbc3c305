"""``cspine predict``: from CT to findings and a report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import (
    app,
    escape_control_characters,
    exit_code,
    handle_errors,
    print_json,
    progress_bar,
    say,
    say_error,
    say_research_only,
)
from cspine.cli.options import (
    MAX_GAP,
    WORKERS,
    DaskOption,
    Fhir,
    Json,
    Localizer,
    MaxGap,
    OperatingPoints,
    Provider,
    Release,
    Seg,
    SeriesUid,
    ShardOption,
    Strict,
    Supersedes,
    Vertebrae,
    VertebraeLabels,
    WeightsOption,
    Workers,
    check_used,
    execution,
    say_shard,
    settled,
)
from cspine.cli.streams import can_show
from cspine.cli.tables import make_table, print_not_assessable, print_table, print_text, print_warnings

if TYPE_CHECKING:
    from cspine.core.execution.execution import Execution
    from cspine.core.findings import Findings
    from cspine.reports.worklist import StudyResult

_EPILOG = "Examples:  cspine predict study/ --out result   |   cspine predict study.zip --out result --weights w.onnx"


@app.command("predict", epilog=_EPILOG)
@handle_errors
def predict_command(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A study: a folder, a zip or a file; or a folder of many studies.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for findings.json and report.html.")],
    weights: WeightsOption = None,
    localizer: Localizer = None,
    vertebrae: Vertebrae = None,
    vertebrae_labels: VertebraeLabels = "auto",
    tta: Annotated[
        bool, typer.Option("--tta", help="Test-time augmentation: average with the left-right flipped views.")
    ] = False,
    operating_points: OperatingPoints = None,
    provider: Provider = None,
    series: SeriesUid = None,
    max_gap_mm: MaxGap = MAX_GAP,
    dicom: Annotated[
        bool,
        typer.Option("--dicom", help="Also write dicom/: structured report, segmentations, captures, key objects."),
    ] = False,
    seg: Seg = "labelmap",
    supersedes: Supersedes = None,
    fhir: Fhir = False,
    fhir_release: Release = "R5",
    workers: Workers = WORKERS,
    shard: ShardOption = None,
    dask: DaskOption = None,
    max_wait_min: Annotated[
        float,
        typer.Option("--max-wait-min", min=0.0, help="Studies that waited longer come first in the worklist, minutes."),
    ] = 60.0,
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Predict fractures of C1 to C7 and write findings.json and report.html.

    Of many studies each has a folder of its own, and worklist.html and worklist.csv list them by urgency. An
    interrupted run is resumed by the same command. A study that is not assessable has an answer, too: why, and what
    would help. Exit code 1: a requested output could not be written, or the prediction of a study failed.
    """
    from cspine.pipelines.case_folder import PredictSettings
    from cspine.pipelines.predict_batch import is_complete, predict_batch

    _check_used(context, dicom=dicom, fhir=fhir, vertebrae=vertebrae is not None)
    settings = PredictSettings(
        weights=tuple(weights or ()),
        localizer=localizer,
        vertebrae=str(vertebrae) if vertebrae else None,
        vertebrae_labels=vertebrae_labels,
        tta=tta,
        operating_points=operating_points,
        provider=provider,
        series_uid=series,
        max_gap_mm=max_gap_mm,
        dicom=dicom,
        segmentation_type=seg,
        supersedes=str(supersedes) if supersedes else None,
        fhir=fhir,
        fhir_release=fhir_release,
    )
    how = execution(workers, shard, dask)
    with progress_bar() as progress:
        results = predict_batch(path, out_dir, settings, workers=how, max_wait_min=max_wait_min, progress=progress)
    how = settled(how, out_dir)
    _show_results(results, how, out_dir, as_json=as_json)
    return exit_code(complete=how.shard is not None or is_complete(results, strict=strict))


def _check_used(context: typer.Context, *, dicom: bool, fhir: bool, vertebrae: bool) -> None:
    """Check that options belong to others that are given; raises as `cspine.cli.options.check_used`."""
    belonging = {
        "--dicom": (dicom, ["--seg", "--supersedes"]),
        "--fhir": (fhir, ["--fhir-release"]),
        "--vertebrae": (vertebrae, ["--vertebrae-labels"]),
    }
    check_used(context, belonging)


def _show_results(results: "Sequence[StudyResult]", how: "Execution", out_dir: Path, *, as_json: bool) -> None:
    """Print findings, or a summary of those of many studies, and on standard error what could not be written."""
    if as_json:
        print_json([result.findings.model_dump(mode="json") for result in results])
    elif how.shard is not None:
        show_summary(results)
        say_shard(how, out_dir)
    elif len(results) == 1:
        show_findings(results[0].findings)
        say(f"report: {out_dir / 'report.html'}")
    else:
        _show_batch(results, out_dir)
    for sentence in [sentence for result in results for sentence in result.failed_outputs]:
        say_error(sentence)
    say_research_only()


def show_summary(results: "Sequence[StudyResult]") -> None:
    """Print how many of many studies are suspicious, not assessable and failed."""
    from cspine.core.not_assessable import FAILED

    codes = [result.findings.not_assessable.code for result in results if result.findings.not_assessable]
    n_suspicious, n_failed = sum(result.is_suspicious for result in results), codes.count(FAILED)
    say(
        f"{len(results)} studies, {n_suspicious} suspicious, {len(codes) - n_failed} not assessable"
        f"{f', {n_failed} failed' if n_failed else ''}"
    )


def _show_batch(results: "Sequence[StudyResult]", out_dir: Path) -> None:
    """Print a summary of many studies, and where their worklist is."""
    from cspine.pipelines.predict_batch import SKIPPED_FILES_FILE

    show_summary(results)
    say(f"Open the worklist:  {out_dir / 'worklist.html'}")
    skipped = out_dir / SKIPPED_FILES_FILE
    if skipped.is_file():
        lines = skipped.read_text(encoding="utf-8").splitlines()
        say_error(f"{len(lines)} files were skipped, first: {escape_control_characters(lines[0])}; see {skipped}")


def show_findings(findings: "Findings") -> None:
    """Print the probabilities of a study as a table, or why there are none."""
    from cspine.core.findings import assessment_label
    from cspine.reports.remarks import remarks_of

    if findings.series_reasons:
        print_text("series: ", ", ".join(findings.series_reasons))
    if findings.not_assessable is not None:
        print_not_assessable(findings.not_assessable)
    patient = findings.patient_overall
    if patient is None:
        return
    table = make_table("level", ">probability", "", "coverage", "remarks")
    remarks = filter(None, [assessment_label(patient.operating_points_reached), *patient.reasons])
    table.add_row("C1-C7, any", *_bar(patient.probability), "", escape_control_characters("; ".join(remarks)))
    for vertebra in findings.vertebrae:
        remarks = filter(None, [assessment_label(vertebra.operating_points_reached), *remarks_of(vertebra)])
        bar = _bar(vertebra.probability)
        table.add_row(
            vertebra.level_label, *bar, vertebra.coverage_label, escape_control_characters("; ".join(remarks))
        )
    print_table(table)
    print_warnings(findings.warnings)


def _bar(probability: float | None) -> tuple[str, str]:
    """Return a probability as text and as a bar."""
    if probability is None:
        return "-", ""
    return f"{100 * probability:.1f} %", ("█" if can_show("█") else "#") * round(30 * probability)

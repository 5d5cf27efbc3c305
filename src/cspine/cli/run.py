"""``cspine run``: one step of an orchestrator, with the folders that it names."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import app, exit_code, handle_errors, progress_bar, say, say_error, say_research_only
from cspine.cli.options import (
    WORKERS,
    Fhir,
    Localizer,
    OperatingPoints,
    Provider,
    Release,
    Seg,
    SeriesUid,
    Strict,
    Supersedes,
    WeightsOption,
    Workers,
    check_used,
)
from cspine.cli.predict import show_findings, show_summary

_EPILOG = "Examples:  cspine run   |   cspine run --in study/ --out result"


@app.command("run", epilog=_EPILOG)
@handle_errors
def run_command(
    context: typer.Context,
    input_folder: Annotated[
        Path | None,
        typer.Option(
            "--in",
            help="Folder of the studies.",
            show_default="MERCURE_IN_DIR, HOLOSCAN_INPUT_PATH, MONAI_INPUTPATH, or /input",
        ),
    ] = None,
    output_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder of the results.",
            show_default="MERCURE_OUT_DIR, HOLOSCAN_OUTPUT_PATH, MONAI_OUTPUTPATH, or /output",
        ),
    ] = None,
    weights: WeightsOption = None,
    localizer: Localizer = None,
    operating_points: OperatingPoints = None,
    provider: Provider = None,
    series: SeriesUid = None,
    seg: Seg = "labelmap",
    supersedes: Supersedes = None,
    html: Annotated[bool, typer.Option("--html", help="Also hand over report.html.")] = False,
    fhir: Fhir = False,
    fhir_release: Release = "R5",
    workers: Workers = WORKERS,
    strict: Strict = False,
) -> int:
    """Predict what an orchestrator puts into a folder; hand over flat *.dcm and result.json.

    For mercure, MONAI Deploy, Kaapana, XNAT and Grand Challenge. Runs as any user, without a network and without a
    home, on a read-only root with a /tmp that can be written. A study that is not assessable has an answer, too.
    """
    from cspine.pipelines.case_folder import PredictSettings
    from cspine.pipelines.run import RESULT_FILE, find_folders, run_studies

    check_used(context, {"--fhir": (fhir, ["--fhir-release"])})
    folders = find_folders(os.environ, input_folder=input_folder, output_folder=output_folder)
    settings = PredictSettings(
        weights=tuple(weights or ()),
        localizer=localizer,
        operating_points=operating_points,
        provider=provider,
        series_uid=series,
        dicom=True,
        segmentation_type=seg,
        supersedes=str(supersedes) if supersedes else None,
        fhir=fhir,
        fhir_release=fhir_release,
    )
    with progress_bar() as progress:
        outcome = run_studies(folders, settings, with_page=html, workers=workers, progress=progress)
    if len(outcome.results) == 1:
        show_findings(outcome.results[0].findings)
    else:
        show_summary(outcome.results)
    for sentence in [sentence for result in outcome.results for sentence in result.failed_outputs]:
        say_error(sentence)
    say(f"written: {len(outcome.files)} files and {folders.output / RESULT_FILE}")
    say_research_only()
    return exit_code(complete=outcome.is_complete(strict=strict))

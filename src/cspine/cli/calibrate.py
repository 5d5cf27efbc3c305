"""``cspine calibrate``: operating points and recalibration of a site."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import WORKERS, Json, Localizer, Workers
from cspine.core.errors import InputError

_EPILOG = (
    "Examples:  cspine calibrate --negatives intact/ --out site   |   "
    "cspine calibrate --unlabelled findings-2025 --prevalence 0.05 --out site"
)

Prevalence = Annotated[
    float | None,
    typer.Option(
        "--prevalence",
        help="Fraction of scanned patients with a fracture, such as 0.05; with --negatives, probabilities keep the "
        "prevalence that they assume if omitted.",
    ),
]
Patients = Annotated[
    Path | None,
    typer.Option("--patients", help="CSV with StudyInstanceUID and patient, if patients have several scans."),
]
Weights = Annotated[
    list[str] | None, typer.Option("--weights", help="Weights for scans, as of cspine predict.", show_default="levels")
]


@app.command("calibrate", epilog=_EPILOG)
@handle_errors
def calibrate_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for operating-points.json and the report.")],
    negatives: Annotated[
        Path | None,
        typer.Option(
            "--negatives", help="Scans of the site without a fracture, or findings of cspine predict for them."
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option("--unlabelled", help="Consecutive scans of the site, or findings; needs --prevalence."),
    ] = None,
    prevalence: Prevalence = None,
    patients: Patients = None,
    weights: Weights = None,
    localizer: Localizer = None,
    tta: Annotated[bool, typer.Option("--tta", help="Test-time augmentation for scans, as of cspine predict.")] = False,
    bootstrap_samples: Annotated[
        int, typer.Option("--bootstrap-samples", min=100, help="Number of bootstrap resamples.")
    ] = 2000,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> None:
    """Choose a site's triage points and recalibrate its probabilities, with 95 % intervals.

    Scans are predicted first, findings are taken as they are. `cspine predict --operating-points` uses the result. The
    report says how many scans it would take for how narrow an interval.
    """
    from cspine.pipelines.calibrate import CalibrateSettings, calibrate
    from cspine.reports.evaluation.calibration_report import calibration_summary

    if (negatives is None) == (unlabelled is None):
        raise InputError("give --negatives, or --unlabelled and --prevalence")
    if unlabelled is not None and prevalence is None:
        raise InputError("--unlabelled: give the --prevalence of fractured patients among the scans, too")
    if prevalence is not None and not 0.0 < prevalence < 1.0:
        raise InputError(f"--prevalence {prevalence:g}: is a fraction of patients, above 0 and below 1")
    settings = CalibrateSettings(
        is_intact=negatives is not None,
        prevalence=prevalence,
        patients=patients,
        weights=tuple(weights or ()),
        localizer=localizer,
        tta=tta,
        n_resamples=bootstrap_samples,
    )
    with progress_bar() as progress:
        report = calibrate(negatives or unlabelled or Path(), out, settings, workers=workers, progress=progress)
    if as_json:
        print_json(report.result.to_json())
    else:
        for sentence in calibration_summary(report.result):
            say(sentence)
        say(f"Use them:  cspine predict STUDY --out DIR --operating-points {report.points}")
        say(f"Open the report:  {report.page}")
    say_research_only()

"""``cspine deidentify``: CT images without what identifies the patient."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cspine.cli.application import (
    DONE,
    SOME_FAILED,
    app,
    handle_errors,
    print_json,
    progress_bar,
    say,
    say_error,
    say_research_only,
)
from cspine.cli.options import WORKERS, Json, Workers
from cspine.core.errors import InputError, OutputTakenError
from cspine.core.extras import require_extra

_EPILOG = "Example:  cspine deidentify study.zip --out away --key secret.key --dates shift"

Dates = Literal["remove", "shift"]


@app.command("deidentify", epilog=_EPILOG)
@handle_errors
def deidentify_command(
    path: Annotated[Path, typer.Argument(help="CT images: a file, a folder or a zip.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the images, in folders named by new UIDs.")],
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            help="File with the secret that gives a patient the same pseudonym in every run; created if missing, and "
            "used for this run only if omitted.",
        ),
    ] = None,
    dates: Annotated[
        Dates,
        typer.Option("--dates", help="remove them, or shift them by a number of days that is specific to the patient."),
    ] = "remove",
    shift_days: Annotated[
        int | None,
        typer.Option("--shift-days", help="Shift all dates by this number of days instead; may be negative."),
    ] = None,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> int:
    """De-identify CT images by the Basic Application Level Confidentiality Profile of DICOM PS3.15.

    Pixels are not changed. Only CT images are written; exit code 1: files were excluded.
    """
    from dataclasses import asdict

    require_extra("deidentify")
    from cspine.deidentify.key import PseudonymKey
    from cspine.deidentify.profile import ConfidentialityProfile
    from cspine.deidentify.study import deidentify

    if shift_days is not None and dates != "shift":
        raise InputError(f"--shift-days {shift_days}: needs --dates shift")
    if shift_days == 0:
        raise InputError("--shift-days 0: would keep the dates; give another number, or leave it to the key")
    if key is not None and key.resolve().is_relative_to(out.resolve()):
        raise InputError(f"{key}: lies within {out}, which leaves the machine; keep the key apart from the images")
    is_new_key = key is not None and not key.exists()
    profile = ConfidentialityProfile(
        PseudonymKey.load_or_create(key) if key else PseudonymKey.generate(), dates, shift_days
    )
    try:
        with progress_bar() as progress:
            summary = deidentify(path, out, profile, workers=workers, progress=progress)
    except (InputError, OutputTakenError):  # refused before anything was written
        if is_new_key and key is not None:
            key.unlink(missing_ok=True)
        raise
    if as_json:
        print_json(asdict(summary))
    else:
        say(f"{summary.written} images of {summary.studies} studies of {summary.patients} patients: {out}")
        for reason, count in sorted(summary.exclusions.items()):
            say(f"excluded, {reason}: {count}")
        if is_new_key:
            say(f"{key}: the new key; whoever has it can re-identify patients, so keep it apart from the images")
    for warning in summary.warnings:
        say_error(warning)
    say_research_only()
    return SOME_FAILED if summary.exclusions else DONE

"""``cspine deidentify``: CT images without their patients."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cspine.cli.app import (
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
            help="File with the secret that gives the same patient the same pseudonym in every run; made if missing, "
            "and for this run alone if left out.",
        ),
    ] = None,
    dates: Annotated[
        Dates, typer.Option("--dates", help="remove them, or shift each patient's by a number of days of their own.")
    ] = "remove",
    shift_days: Annotated[
        int | None, typer.Option("--shift-days", help="Shift all dates by this many days instead; may be negative.")
    ] = None,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> int:
    """Write CT images without what tells who the patient is, by PS3.15's basic profile.

    Pixels are not changed. Only CT images are carried over; exit code 1 says that files were left out.
    """
    from dataclasses import asdict

    from cspine.deidentify.key import Key
    from cspine.deidentify.profile import Profile
    from cspine.deidentify.study import deidentify

    if shift_days is not None and dates != "shift":
        raise InputError(f"--shift-days {shift_days}: needs --dates shift")
    if shift_days == 0:
        raise InputError("--shift-days 0: would keep the dates; give another number, or leave it to the key")
    if key is not None and key.resolve().is_relative_to(out.resolve()):
        raise InputError(f"{key}: lies within {out}, which leaves the machine; keep the key apart from the images")
    made = key is not None and not key.exists()
    profile = Profile(Key.at(key) if key else Key.new(), dates, shift_days)
    try:
        with progress_bar() as progress:
            found = deidentify(path, out, profile, workers=workers, progress=progress)
    except (InputError, OutputTakenError):  # refused before anything was written
        if made and key is not None:
            key.unlink(missing_ok=True)
        raise
    if as_json:
        print_json(asdict(found))
    else:
        say(f"{found.written} images of {found.studies} studies of {found.patients} patients: {out}")
        for why, count in sorted(found.left_out.items()):
            say(f"left out, {why}: {count}")
        if made:
            say(f"{key}: the key, made now; who has it can find patients again, so keep it apart from the images")
    for warning in found.warnings:
        say_error(warning)
    say_research_only()
    return SOME_FAILED if found.left_out else DONE

"""``cspine demo``: from DICOM to a report, on an embedded phantom study."""

import json
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import app, handle_errors, progress_bar, say, say_research_only
from cspine.cli.predict import show_findings


@app.command("demo", epilog="Example:  cspine demo --out demo")
@handle_errors
def demo_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for findings.json and report.html.")] = Path("demo"),
) -> None:
    """Predict an embedded phantom study with the embedded weights: from DICOM in a zip to a report."""
    from cspine.pipelines.predict_batch import predict_batch

    embedded = resources.files("cspine").joinpath("phantom", "embedded")
    truth = json.loads(embedded.joinpath("truth.json").read_text("utf-8"))
    with (
        resources.as_file(embedded.joinpath("study.zip")) as study,
        progress_bar() as progress,
    ):
        say("Predicting a phantom neck (no patient) from DICOM in a zip: localize the vertebrae, classify each.")
        (result,) = predict_batch(study, out, progress=progress)
    show_findings(result.findings)
    say(
        "Reference standard (fractured): "
        + ", ".join(f"{each['level']} ({each['fracture_type']})" for each in truth["fractures"])
        + "."
    )
    say("A phantom shows that the software works; it says nothing about accuracy in patients.")
    say_research_only()
    say(f"Open the report:  {(out / 'report.html').resolve()}")

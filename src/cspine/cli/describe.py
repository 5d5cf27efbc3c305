"""``cspine describe``: a summary of a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import Json
from cspine.cli.tables import make_table, print_table

if TYPE_CHECKING:
    import pandas as pd

    from cspine.datasets.summary import LabelSummary

_EPILOG = "Examples:  cspine describe compiled   |   cspine describe rsna --out figures"


@app.command("describe", epilog=_EPILOG)
@handle_errors
def describe_command(
    data: Annotated[Path, typer.Argument(help="A compiled data set, or a folder in the challenge's layout.")],
    figures: Annotated[Path, typer.Option("--out", help="Folder for the figures.")] = Path("figures"),
    as_json: Json = False,
) -> None:
    """Summarize a data set: labels per level, co-occurrence of fractures, and the geometry of the series."""
    from cspine.pipelines.summarize import summarize_dataset

    with progress_bar() as progress:
        summary = summarize_dataset(data, figures, progress=progress)
    if as_json:
        print_json(summary.to_json())
        return
    _show_labels(summary.labels)
    _show_geometry(summary.geometry)
    say(f"figures: {', '.join(map(str, summary.figures))}")
    if summary.is_phantom:
        say("This is a phantom data set without patients.")
    say_research_only()


def _show_labels(labels: "LabelSummary") -> None:
    table = make_table("target", ">fractured", ">fraction", ">95 % interval", title=f"{labels.n_studies:,} studies")
    for target, fraction in labels.prevalence.items():
        interval = f"{100 * fraction.low:.1f}-{100 * fraction.high:.1f} %"
        table.add_row(target, str(labels.counts[target]), f"{100 * fraction.value:.1f} %", interval)
    print_table(table)
    per_study = ", ".join(f"{n}: {studies}" for n, studies in labels.levels_per_study.items())
    say(f"fractured levels per positive study  {per_study}\n")
    headings = ("", *(f">{level}" for level in labels.cooccurrence.columns))
    table = make_table(*headings, title="studies with both levels fractured")
    for level, row in labels.cooccurrence.iterrows():
        table.add_row(str(level), *(str(count) for count in row))
    print_table(table)


def _show_geometry(geometry: "pd.DataFrame") -> None:
    table = make_table("measure", *(f">{name}" for name in geometry.columns), title="geometry")
    for name, row in geometry.iterrows():
        table.add_row(str(name), *(f"{value:.2f}" for value in row))
    print_table(table)

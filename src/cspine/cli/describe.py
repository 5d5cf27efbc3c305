"""``cspine describe``: what a data set holds."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import app, handle_errors, out, print_json, progress_bar, say, say_research_only
from cspine.cli.options import Json

if TYPE_CHECKING:
    import pandas as pd

    from cspine.core.progress import Progress
    from cspine.datasets.summary import LabelDescription

_EPILOG = "Examples:  cspine describe compiled   |   cspine describe rsna --out figures"


@app.command("describe", epilog=_EPILOG)
@handle_errors
def describe_command(
    data: Annotated[Path, typer.Argument(help="A compiled data set, or a folder in the challenge's layout.")],
    figures: Annotated[Path, typer.Option("--out", help="Folder for the figures.")] = Path("figures"),
    as_json: Json = False,
) -> None:
    """Show labels per level, which levels break together, and the geometry of the series."""
    from cspine.datasets.summary import describe_geometry, describe_labels
    from cspine.plots.dataset_figures import cooccurrence_figure, geometry_figure, labels_figure
    from cspine.plots.figure_style import save_figure

    with progress_bar() as progress:
        labels, geometry, phantom = _tables(data, progress)
    described, measures = describe_labels(labels), describe_geometry(geometry)
    drawn = {
        "labels.png": labels_figure(labels, phantom=phantom),
        "together.png": cooccurrence_figure(described.together, phantom=phantom),
        "geometry.png": geometry_figure(geometry, phantom=phantom),
    }
    for name, figure in drawn.items():
        save_figure(figure, figures / name)
    if as_json:
        print_json(
            {
                "phantom": phantom,
                "labels": {**asdict(described), "together": described.together.to_dict()},
                "geometry": measures.T.to_dict(),
            }
        )
        return
    _show(described, measures)
    say(f"figures: {', '.join(str(figures / name) for name in drawn)}")
    if phantom:
        say("This is a phantom data set: no patient is in it.")
    say_research_only()


def _tables(data: Path, progress: "Progress") -> "tuple[pd.DataFrame, pd.DataFrame, bool]":
    """Return labels, one row per study's geometry, and whether the studies are phantoms."""
    from cspine.core.anatomy import TARGETS
    from cspine.core.errors import LabelError
    from cspine.datasets.compiled import MARKER, CompiledDataset
    from cspine.datasets.rsna2022_labels import read_labels
    from cspine.datasets.survey import survey_geometry
    from cspine.dicom.study_collection import open_collection

    if (data / MARKER).is_file():
        store = CompiledDataset.open(data)
        studies = store.studies().query("status == 'compiled'")
        labelled = studies.dropna(subset=list(TARGETS))
        if labelled.empty:
            raise LabelError(f"{data}: no study has labels; compile a folder with train.csv")
        return labelled[list(TARGETS)].astype(int), studies, store.is_phantom
    root = open_collection(data, progress=progress)
    if root.labels_path is None:
        raise LabelError(f"{data}: has no train.csv to describe; give the challenge's folder or a compiled data set")
    return read_labels(root.labels_path), survey_geometry(root, progress=progress), root.is_phantom


def _show(described: "LabelDescription", measures: "pd.DataFrame") -> None:
    from rich.table import Table

    labels = Table(title=f"{described.studies:,} studies", box=None, pad_edge=False, header_style="dim")
    for heading in ("target", "fractured", "share", "95 % interval"):
        labels.add_column(heading, justify="left" if heading == "target" else "right")
    for target, share in described.shares.items():
        interval = f"{100 * share.low:.1f}-{100 * share.high:.1f} %"
        labels.add_row(target, str(described.counts[target]), f"{100 * share.value:.1f} %", interval)
    out.print(labels)
    per_study = ", ".join(f"{n}: {count}" for n, count in described.levels_per_study.items())
    out.print(f"fractured levels per positive study  {per_study}\n")
    together = Table(title="studies with both levels fractured", box=None, pad_edge=False, header_style="dim")
    for heading in ("", *described.together.columns):
        together.add_column(heading, justify="right")
    for level, row in described.together.iterrows():
        together.add_row(str(level), *(str(count) for count in row))
    out.print(together)
    geometry = Table(title="geometry", box=None, pad_edge=False, header_style="dim")
    for heading in ("measure", *measures.columns):
        geometry.add_column(heading, justify="left" if heading == "measure" else "right")
    for name, row in measures.iterrows():
        geometry.add_row(str(name), *(f"{value:.2f}" for value in row))
    out.print(geometry)

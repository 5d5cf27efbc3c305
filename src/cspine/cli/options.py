"""Options that several commands share."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from cspine.cli.application import say, say_error
from cspine.core.errors import InputError
from cspine.core.execution.execution import Execution
from cspine.core.execution.shard_records import SHARDS_FOLDER
from cspine.core.execution.shards import ALL, SHARD, Shard
from cspine.core.extras import FhirRelease
from cspine.core.processors import default_workers
from cspine.core.storage.locations import as_path
from cspine.dicom.limits import MAX_GAP_MM
from cspine.models.providers import ProviderName
from cspine.reports.dicom.derived_series import SegmentationType

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.")]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        help="A name that `cspine weights` lists, or an ONNX file of cspine train; repeat it for an ensemble.",
        show_default="levels",
    ),
]
OperatingPoints = Annotated[
    str | None,
    typer.Option(
        "--operating-points",
        help="Thresholds of what is suspicious: a file that cspine calibrate wrote, or the word weights for "
        "those that the weights bring.",
        show_default="CSPINE_OPERATING_POINTS, or weights",
    ),
]
Seg = Annotated[
    SegmentationType,
    typer.Option(
        "--seg",
        envvar="CSPINE_SEG",
        help="Encoding of the DICOM segmentation of the vertebrae; binary for older viewers.",
    ),
]
Supersedes = Annotated[
    Path | None,
    typer.Option(
        "--supersedes",
        envvar="CSPINE_SUPERSEDES",
        exists=True,
        file_okay=False,
        help="Folder with earlier DICOM results in files of any name; a rejection note lists those of another answer.",
    ),
]
Fhir = Annotated[bool, typer.Option("--fhir", help="Also write fhir.json: the findings as a FHIR bundle.")]
Release = Annotated[FhirRelease, typer.Option("--fhir-release", help="Release of FHIR.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="End with exit code 1 where a study is not assessable, instead of 0.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Number of processes.", show_default="all processors")]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        envvar=SHARD,
        help="Only the i-th of n parts of the studies, as i/n, or all; cspine merge joins them, and tells what failed.",
        show_default="of several studies the task of a Slurm array or an indexed job of Kubernetes, or all",
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option("--dask", help="Address of a Dask scheduler, such as tcp://host:8786, or local."),
]
MaxGap = Annotated[
    float, typer.Option("--max-gap-mm", min=0.1, help="Largest gap between slices that is interpolated, in mm.")
]
SeriesUid = Annotated[
    str | None,
    typer.Option("--series", help="Read the series with this UID instead of the best one; see cspine inspect."),
]
Localizer = Annotated[
    str | None,
    typer.Option("--localizer", help="Name or ONNX file of a localizer; the embedded one if omitted."),
]
Provider = Annotated[
    ProviderName | None,
    typer.Option(
        "--provider",
        help="Execution provider of ONNX Runtime that runs the networks; auto: the first that is installed.",
        show_default="CSPINE_PROVIDER, or cpu",
    ),
]
Vertebrae = Annotated[
    Path | None,
    typer.Option(
        "--vertebrae",
        help="Segmentation in place of the localizer: NIfTI or DICOM SEG; of many studies a folder of them.",
    ),
]
VertebraeLabels = Annotated[
    Literal["auto", "rsna", "verse", "ctspine1k", "totalsegmentator", "totalsegmentator-1"],
    typer.Option("--vertebrae-labels", help="Which values of label maps are which vertebrae."),
]
Data = Annotated[Path, typer.Option("--data", help="Compiled data set (of cspine compile).")]
Run = Annotated[Path, typer.Option("--run", help="Training run (of cspine train).")]

MAX_VIEWS = 30

WORKERS = default_workers()
MAX_GAP = MAX_GAP_MM


def execution(workers: int, shard: str | None, dask: str | None) -> Execution:
    """Return how a command is executed, by its options or by the variables of a job array.

    Parameters
    ----------
    workers : int
        Number of processes.
    shard : str or None
        ``i/n``, or ``all``; where None, what the environment says.
    dask : str or None
        Address of a Dask scheduler, or ``local``.

    Raises
    ------
    InputError
        The shard or the address is none, or the environment does not say how many shards there are.
    MissingExtraError
        As by `cspine.core.execution.execution.Execution`.
    """
    if shard is not None:
        return Execution(workers, explicit_shard(shard), dask)
    part = Shard.from_environment(os.environ)
    if part is not None:
        say_error(f"shard {part} of several studies, as the job array says; --shard all is for all studies")
    return Execution(workers, part, dask, is_implied=part is not None)


def explicit_shard(shard: str | None) -> Shard | None:
    """Return the shard of the option, or of ``CSPINE_SHARD``; that of a job array does not count.

    An evaluation often ends a task of an array that is something else, such as one training for each fold, and would
    be divided unseen.
    """
    return None if shard is None or shard.strip() == ALL else Shard.parse(shard)


def settled(how: Execution, out: Path | None) -> Execution:
    """Return how a command was executed: an array's shard does not count where one study was not divided."""
    is_divided = not how.is_implied or (out is not None and as_path(out).joinpath(SHARDS_FOLDER).is_dir())
    return how if is_divided else replace(how, shard=None)


def say_shard(how: Execution, out: Path | None) -> bool:
    """Say what joins the shards, where a command ran one of them; return whether it did."""
    if how.shard is None:
        return False
    say(f"shard {how.shard} is done; when all are:  cspine merge {out}")
    return True


def check_used(context: typer.Context, belonging: Mapping[str, tuple[bool, Sequence[str]]]) -> None:
    """Check that options on the command line have an effect: others that they belong to are given, too.

    Parameters
    ----------
    context : typer.Context
        The command's.
    belonging : mapping of str to (bool, sequence of str)
        Of an option, such as ``--dicom``: whether it is given, and the options that belong to it.

    Raises
    ------
    InputError
        They have no effect.
    """
    for needed, (is_given, options) in belonging.items():
        sources = {option: context.get_parameter_source(option[2:].replace("-", "_")) for option in options}
        idle = [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
        if idle and not is_given:
            verb, them = ("has", "it") if len(idle) == 1 else ("have", "them")
            raise InputError(f"{', '.join(idle)}: {verb} no effect without {needed}; add {needed}, or leave {them} out")


def three_counts(option: str, text: str) -> tuple[int, int, int]:
    """Parse three comma-separated counts of views.

    Parameters
    ----------
    option : str
        The option's name, for the error.
    text : str
        Three counts separated by commas, such as ``3,3,3``.

    Returns
    -------
    (int, int, int)
        Sagittal, coronal and axial views; 0 to 30 each, and not all 0.

    Raises
    ------
    InputError
        It is something else.
    """
    parts = text.split(",")
    counts = [int(part) for part in parts if part.strip().isdecimal() and len(part) < 4]
    if len(parts) != 3 or len(counts) != 3 or max(counts) > MAX_VIEWS or not any(counts):
        raise InputError(
            f"{option} {text}: takes numbers of sagittal, coronal and axial views from 0 to {MAX_VIEWS}, such as 3,3,3"
        )
    sagittal, coronal, axial = counts
    return sagittal, coronal, axial

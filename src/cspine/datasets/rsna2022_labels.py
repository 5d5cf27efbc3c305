"""Reading and validation of the RSNA 2022 challenge's tables."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import BOX_COLUMNS, STUDY
from cspine.core.errors import LabelError


@dataclass(frozen=True)
class LabelMatch:
    """Correspondence of labels and studies.

    Attributes
    ----------
    with_labels : tuple of str
        Studies with labels, sorted.
    studies_without_labels : tuple of str
        Studies without labels, sorted.
    labels_without_studies : tuple of str
        Labels of studies that are not there, sorted.
    """

    with_labels: tuple[str, ...]
    studies_without_labels: tuple[str, ...]
    labels_without_studies: tuple[str, ...]


def read_labels(path: Path, *, with_patients: bool = False) -> pd.DataFrame:
    """Read the challenge's train.csv.

    Parameters
    ----------
    path : Path
        A CSV with the columns StudyInstanceUID, patient_overall and C1 to C7.
    with_patients : bool
        Whether it may have a column ``patient``, too, which `read_patients` returns.

    Returns
    -------
    DataFrame
        Indexed by StudyInstanceUID, columns `TARGETS` as int8.

    Raises
    ------
    LabelError
        The file is missing, empty or no CSV, columns are missing or unknown, a study is repeated, a label is missing
        or not 0 or 1, or patient_overall contradicts the levels; with the count and the first offenders.
    """
    table = read_table(path, (STUDY, *TARGETS), optional=("patient",) if with_patients else ())
    refuse_rows(path, table, table[STUDY].duplicated(), "repeat an earlier study; keep one row per study")
    refuse_rows(path, table, table[list(TARGETS)].isna().any(axis=1), "lack a label; fill it in or leave the study out")
    values = table[list(TARGETS)].apply(pd.to_numeric, errors="coerce")
    refuse_rows(path, table, ~values.isin([0, 1]).all(axis=1), "have labels other than 0 and 1; correct them")
    contradicts = values[list(VERTEBRAE)].max(axis=1) != values[OVERALL]
    refuse_rows(path, table, contradicts, f"have a {OVERALL} that is not the OR of C1 to C7; correct them")
    labels: pd.DataFrame = values.astype("int8").set_axis(pd.Index(table[STUDY], name=STUDY), axis="index")
    return labels


def read_patients(path: Path) -> dict[str, str]:
    """Return the column ``patient`` of a table of labels by study, where it has one; raises as `read_labels`."""
    table = read_table(path, (STUDY, *TARGETS), optional=("patient",))
    if "patient" not in table.columns:
        return {}
    known = table.dropna(subset=["patient"])
    return dict(zip(known[STUDY].astype(str), known["patient"].astype(str), strict=True))


def read_boxes(path: Path) -> pd.DataFrame:
    """Read the challenge's train_bounding_boxes.csv.

    Parameters
    ----------
    path : Path
        A CSV with the columns StudyInstanceUID, x, y, width, height and slice_number; a study may have many rows.

    Returns
    -------
    DataFrame
        Columns StudyInstanceUID, x, y, width, height (pixels, floats) and slice_number (integers).

    Raises
    ------
    LabelError
        The file is missing, empty or no CSV, columns are missing or unknown, or a box has no position, no size or no
        integer slice number; with the count and the first offenders.
    """
    table = read_table(path, (STUDY, *BOX_COLUMNS))
    values = table[list(BOX_COLUMNS)].apply(pd.to_numeric, errors="coerce").astype(float)
    refuse_rows(path, table, ~np.isfinite(values).all(axis=1), "have boxes with missing numbers; correct them")
    refuse_rows(path, table, (values[["width", "height"]] <= 0).any(axis=1), "have boxes without size; correct them")
    refuse_rows(path, table, values["slice_number"] % 1 != 0, "have a slice_number that is no integer; correct them")
    boxes: pd.DataFrame = pd.concat([table[[STUDY]], values.astype({"slice_number": int})], axis=1)
    return boxes


def match_labels(labels: pd.DataFrame, studies: Collection[str]) -> LabelMatch:
    """Return which studies have labels, and which of either lack the other.

    Parameters
    ----------
    labels : DataFrame
        One row per study, indexed by StudyInstanceUID.
    studies : collection of str
        StudyInstanceUIDs of the images.

    Examples
    --------
    >>> labels = pd.DataFrame(index=["1.1", "1.2"])
    >>> match_labels(labels, ["1.2", "1.3"])
    LabelMatch(with_labels=('1.2',), studies_without_labels=('1.3',), labels_without_studies=('1.1',))
    """
    labeled, available = set(labels.index), set(studies)
    return LabelMatch(
        tuple(sorted(labeled & available)), tuple(sorted(available - labeled)), tuple(sorted(labeled - available))
    )


def read_table(
    path: Path, columns: tuple[str, ...], *, key: str = STUDY, optional: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Read a table as text; callers convert numbers, so that 'True' is not read as 1.

    Spreadsheets write UTF-16, semicolons or tabs, and an unnamed column that counts the rows; all are read.

    Parameters
    ----------
    path : Path
        A CSV file in the layout of the challenge.
    columns : tuple of str
        The columns that it must have, and no others.
    key : str
        Column that no row may lack.
    optional : tuple of str
        Columns that it may have.

    Raises
    ------
    LabelError
        The file is missing, empty or no such table; with the first offenders.
    """
    try:
        encoding, separator = _layout(path)
        with path.open("rb") as stream:
            table = _without_row_numbers(pd.read_csv(stream, dtype=str, encoding=encoding, sep=separator))
    except pd.errors.EmptyDataError as error:
        raise LabelError(f"{path}: is empty; get the file again") from error
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: is not a CSV table ({type(error).__name__}); get the file again") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise LabelError(f"{path}: lacks the columns {', '.join(missing)}; give the challenge's own file")
    unknown = [str(column)[:64] for column in table.columns if column not in (*columns, *optional)]
    if unknown:
        raise LabelError(
            f"{path}: has {len(unknown)} unknown columns (first: {', '.join(unknown[:3])}); remove them, "
            f"the columns are {', '.join(columns)}"
        )
    if table.empty:
        raise LabelError(f"{path}: has no rows; get the file again")
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first column for an index
        raise LabelError(f"{path}: has more fields in a row than in its header; get the file again")
    refuse_rows(path, table, table[key].isna(), f"have no {key}; fill it in or remove them", key=key)
    return table


def _layout(path: Path) -> tuple[str, str]:
    """Return encoding and separator of a table, by its byte order mark and its first line."""
    with path.open("rb") as stream:
        head = stream.readline(4096)
    encoding = "utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"
    line = head.replace(b"\0", b"")
    return encoding, chr(max(b",;\t", key=line.count))


def _without_row_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the unnamed first column in which a spreadsheet or pandas counted the rows."""
    numbers = table.iloc[:, 0].astype(str)
    is_count = str(table.columns[0]).startswith("Unnamed:") and numbers.str.isdecimal().all() and numbers.is_unique
    return table.iloc[:, 1:] if is_count else table


def refuse_rows(
    path: Path, table: pd.DataFrame, is_invalid: "pd.Series[bool]", problem: str, *, key: str = STUDY
) -> None:
    """Raise LabelError if any row is invalid, with the count and the first three.

    Parameters
    ----------
    path : Path
        The table's file, for the message.
    table : DataFrame
        As returned by `read_table`.
    is_invalid : Series of bool
        Whether each row is invalid.
    problem : str
        The problem and its remedy; follows "n of m rows".
    key : str
        Column that names rows in the message; rows without it are named by their line.
    """
    if is_invalid.any():
        rows = np.flatnonzero(is_invalid)[:3]
        named = zip(rows, table[key].iloc[rows], strict=True)
        first = ", ".join(f"line {row + 2}" if pd.isna(name) else str(name)[:80] for row, name in named)
        raise LabelError(f"{path}: {int(is_invalid.sum())} of {len(table)} rows {problem} (first: {first})")

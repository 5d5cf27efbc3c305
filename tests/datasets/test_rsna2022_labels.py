"""The challenge's tables are read, and malformed ones named with counts."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError
from cspine.datasets.rsna2022_labels import LabelMatch, match_labels, read_boxes, read_labels

HEADER = f"StudyInstanceUID,{','.join(TARGETS)}"
BOXES = "StudyInstanceUID,x,y,width,height,slice_number"


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_labels_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", HEADER, "1.2,1,0,1,0,0,0,0,0", "1.10,0,0,0,0,0,0,0,0")

    labels = read_labels(path)

    assert labels.index.tolist() == ["1.2", "1.10"]
    assert labels.columns.tolist() == list(TARGETS)
    assert [str(dtype) for dtype in labels.dtypes] == ["int8"] * 8
    assert labels.to_numpy().tolist() == [[1, 0, 1, 0, 0, 0, 0, 0], [0] * 8]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([HEADER], "has no rows; get the file again"),
        (["StudyInstanceUID,C1", "1.2,0"], "lacks the columns patient_overall, C2"),
        ([HEADER + ",C8,age", "1.2" + ",0" * 10], r"has 2 unknown columns \(first: C8, age\); remove them"),
        ([HEADER, "1.2" + ",0" * 9], "more fields in a row than in its header"),
        ([HEADER, "1.2" + ",0" * 8, "1.2" + ",0" * 8], r"1 of 2 rows repeat an earlier study; .* \(first: 1\.2\)"),
        ([HEADER, "1.2,0,2" + ",0" * 6], r"1 of 1 rows have labels other than 0 and 1; .* \(first: 1\.2\)"),
        ([HEADER, "1.2,0,0.5" + ",0" * 6], "labels other than 0 and 1"),
        ([HEADER, "1.2,0,False" + ",0" * 6], "labels other than 0 and 1"),
        ([HEADER, "1.2,0,," + ",0" * 5], r"1 of 1 rows lack a label; fill it in .* \(first: 1\.2\)"),
        ([HEADER, "1.2,0,1" + ",0" * 6, "1.3,1" + ",0" * 7], r"2 of 2 rows have a patient_overall that is not the OR"),
        ([HEADER, "1.2" + ",0" * 8, ",0" + ",0" * 7], r"1 of 2 rows have no StudyInstanceUID; .* \(first: line 3\)"),
        ([HEADER, *(f"1.{n},0,1" + ",0" * 6 for n in range(9))], r"9 of 9 rows .* \(first: 1\.0, 1\.1, 1\.2\)$"),
    ],
)
def test_malformed_labels_raise_with_counts(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(LabelError, match=rf"train\.csv: .*{message}"):
        read_labels(write(tmp_path / "train.csv", *rows))


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (str, "utf-16"),
        (str, "utf-8-sig"),
        (lambda text: text.replace(",", ";"), "utf-8"),
        (lambda text: text.replace(",", "\t"), "utf-16"),
        (lambda text: "\n".join(f"{k * 7 if k else ''},{line}" for k, line in enumerate(text.splitlines())), "utf-8"),
    ],
    ids=["UTF-16", "UTF-8 with a mark", "semicolons", "tabs in UTF-16", "row numbers"],
)
def test_tables_as_spreadsheets_write_them_are_read(
    tmp_path: Path, change: Callable[[str], str], encoding: str
) -> None:
    plain = write(tmp_path / "plain.csv", HEADER, "1.2,1,0,1,0,0,0,0,0", "1.10,0,0,0,0,0,0,0,0")
    (tmp_path / "changed.csv").write_bytes(change(plain.read_text()).encode(encoding))

    pd.testing.assert_frame_equal(read_labels(tmp_path / "changed.csv"), read_labels(plain))


def test_identifiers_stay_text_and_names_of_nothing_are_refused(tmp_path: Path) -> None:
    identifiers = ["00123", "123", "1e5", "100000", "1.20"]
    rows = [f"{identifier}{',0' * 8}" for identifier in identifiers]

    assert read_labels(write(tmp_path / "a.csv", HEADER, *rows)).index.tolist() == identifiers
    with pytest.raises(LabelError, match="1 of 6 rows have no StudyInstanceUID"):
        read_labels(write(tmp_path / "b.csv", HEADER, *rows, f"NA{',0' * 8}"))


def test_missing_empty_or_binary_file_raises(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    (tmp_path / "empty.csv").touch()

    with pytest.raises(LabelError, match=r"none\.csv: cannot be read"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(LabelError, match="cannot be read"):
        read_labels(tmp_path)
    with pytest.raises(LabelError, match=r"empty\.csv: is empty"):
        read_labels(tmp_path / "empty.csv")
    with pytest.raises(LabelError, match=r"binary\.csv: is not a CSV table"):
        read_labels(tmp_path / "binary.csv")


def test_boxes_are_read(tmp_path: Path) -> None:
    boxes = read_boxes(write(tmp_path / "a.csv", BOXES, "1.2,10.5,20,30,40,133", "1.2,1,2,3,4,134"))

    assert boxes.columns.tolist() == BOXES.split(",")
    assert boxes.iloc[0].tolist() == ["1.2", 10.5, 20.0, 30.0, 40.0, 133]
    assert boxes["slice_number"].dtype == int


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1.2,10,20,0,40,1", "boxes without size"),
        ("1.2,10,,3,40,1", "missing numbers"),
        ("1.2,10,20,3,40,inf", "missing numbers"),
        ("1.2,10,20,3,forty,1", "missing numbers"),
        ("1.2,10,20,3,40,1.5", "slice_number that is no integer"),
        (",10,20,3,40,1", "no StudyInstanceUID"),
    ],
)
def test_malformed_boxes_raise_with_counts(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(LabelError, match=rf"b\.csv: 1 of 2 rows .*{message}"):
        read_boxes(write(tmp_path / "b.csv", BOXES, "1.1,1,2,3,4,5", row))


def test_labels_and_studies_are_matched() -> None:
    labels = pd.DataFrame(index=["1.3", "1.1", "1.2"])

    assert match_labels(labels, ["1.4", "1.3", "1.2"]) == LabelMatch(("1.2", "1.3"), ("1.4",), ("1.1",))
    assert match_labels(labels, []).labels_without_studies == ("1.1", "1.2", "1.3")

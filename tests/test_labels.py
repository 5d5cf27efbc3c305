from pathlib import Path

import pytest

from cspine.anatomy import TARGETS
from cspine.errors import LabelError
from cspine.labels import read_boxes, read_labels

HEADER = f"StudyInstanceUID,{','.join(TARGETS)}"


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_labels_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", HEADER, "1.2,1,0,1,0,0,0,0,0", "1.10,0,0,0,0,0,0,0,0")

    labels = read_labels(path)

    assert labels.index.tolist() == ["1.2", "1.10"]
    assert labels.to_numpy()[0].tolist() == [1, 0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([HEADER], "has no rows"),
        (["StudyInstanceUID,C1", "1.2,0"], "lacks the columns patient_overall, C2"),
        ([HEADER, "1.2" + ",0" * 8, "1.2" + ",0" * 8], r"1 rows stand twice; .* \(first: 1\.2\)"),
        ([HEADER, "1.2,0,2" + ",0" * 6], r"1 rows have labels other than 0 and 1; .* \(first: 1\.2\)"),
        ([HEADER, "1.2,0,," + ",0" * 5], "labels other than 0 and 1"),
        ([HEADER, "1.2,0,yes" + ",0" * 6], "labels other than 0 and 1"),
        ([HEADER, "1.2,0,1" + ",0" * 6, "1.3,1" + ",0" * 7], r"2 rows have a patient_overall that is not the OR"),
        ([HEADER, ",0" + ",0" * 7], "1 rows have no StudyInstanceUID"),
    ],
)
def test_bad_labels_are_named_with_counts(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        read_labels(write(tmp_path / "train.csv", *rows))


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))

    with pytest.raises(LabelError, match=r"none\.csv: cannot be read"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(LabelError, match=r"binary\.csv: is not a CSV table"):
        read_labels(tmp_path / "binary.csv")


def test_boxes_are_read_and_checked(tmp_path: Path) -> None:
    header = "StudyInstanceUID,x,y,width,height,slice_number"

    boxes = read_boxes(write(tmp_path / "a.csv", header, "1.2,10.5,20,30,40,133"))

    assert boxes.iloc[0].tolist() == ["1.2", 10.5, 20.0, 30.0, 40.0, 133]
    with pytest.raises(LabelError, match="boxes without size"):
        read_boxes(write(tmp_path / "b.csv", header, "1.2,10,20,0,40,1"))
    with pytest.raises(LabelError, match="missing numbers"):
        read_boxes(write(tmp_path / "c.csv", header, "1.2,10,,3,40,1"))

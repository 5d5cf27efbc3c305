"""Compiling studies to a data set."""

from pathlib import Path

import pandas as pd
from tests.support.dicom import make_hu, write_series

from cspine.pipelines.compile import compile_dataset
from cspine.views.settings import CompileSettings


def test_the_table_has_the_warnings_of_studies_that_fail(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", make_hu((14, 20, 24)), spacing=(2.0, 2.0, 2.0))
    for path in paths[6:9]:
        path.write_bytes(b"")

    summary = compile_dataset(tmp_path / "ct", tmp_path / "out", CompileSettings(spine_aligned=False, levels=None))

    assert [name for name, _ in summary.skipped] == ["7.dcm", "8.dcm", "9.dcm"]
    (row,) = pd.read_parquet(tmp_path / "out" / "studies.parquet").to_dict("records")
    assert row["status"] == "failed"
    assert "3 files could not be read" in row["warnings"][0]

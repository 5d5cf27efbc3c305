"""An imported data set: its records, and the labels that they give."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cspine.core.anatomy import TARGETS
from cspine.core.columns import STUDY
from cspine.datasets.scan_records import ScanRecord, read_scan_records


@dataclass(frozen=True)
class ImportedSet:
    """The studies of an imported data set.

    Attributes
    ----------
    folder : Path
        Root of the data set.
    records : tuple of ScanRecord
        One for each study.
    """

    folder: Path
    records: tuple[ScanRecord, ...]

    @classmethod
    def open(cls, folder: Path) -> "ImportedSet":
        """Read the records of a data set of `cspine import`; raises as `read_scan_records`."""
        return cls(folder, read_scan_records(folder))

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.resolve().name

    @property
    def labels(self) -> pd.DataFrame:
        """Labels of the studies that have all of them, indexed by study, columns `TARGETS`; may be empty."""
        complete = [record for record in self.records if set(record.targets or ()) == set(TARGETS)]
        rows = {record.study: record.targets for record in complete}
        table = pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS))
        return table.sort_index().rename_axis(STUDY)

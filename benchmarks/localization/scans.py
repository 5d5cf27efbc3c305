"""The public real scans that the localizer is tried on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from benchmarks.localization.variants import ALWAYS, CUTS, FIELD_CROP, GRID_AND_HU, Variant
from cspine.core.errors import InputError
from cspine.dicom.loading import open_series, read_first
from cspine.localization.series_choice import choose_series

if TYPE_CHECKING:
    import highdicom

    from cspine.localization.compiler import VolumeLocalizer

Kind = Literal["neck", "planning CT", "other part"]

OPENKBP: Final = "openkbp"

REAL_DATA: Final = "CSPINE_REAL_DATA"
"""Environment variable that names the folder of real CT."""


@dataclass(frozen=True)
class RealScan:
    """A public scan below the folder of real CT.

    Attributes
    ----------
    name : str
        Name in tables and of files.
    path : str
        Folder or file, relative to the folder of real CT.
    kind : str
        What it is good for: ``neck`` shows cervical vertebrae at a usual resolution, ``planning CT`` shows them in
        voxels of 4 to 5 mm, ``other part`` shows none, or at most the first or the last of them.
    content : str
        What it shows, in words.
    source : str
        Where it was published, and under which licence.
    variants : tuple of Variant
        What is done to it.
    """

    name: str
    path: str
    kind: Kind
    content: str
    source: str
    variants: tuple[Variant, ...]

    def load(self, folder: Path, localizer: "VolumeLocalizer") -> "highdicom.Volume":
        """Load the series that cspine reads, with all of its slices.

        Parameters
        ----------
        folder : Path
            Folder of real CT.
        localizer : VolumeLocalizer
            Chooses among several series.

        Raises
        ------
        InputError
            The scan cannot be read.
        """
        plan = choose_series(open_series(folder / self.path), localizer)
        return read_first(plan, lambda plan: plan.load())[1]

    def exists(self, folder: Path) -> bool:
        """Return whether the scan lies in a folder of real CT."""
        return (folder / self.path).exists()


_WEASIS: Final = "nroduit/demo-archive on GitHub, CC BY 4.0"
_NECK: Final = (*ALWAYS, *GRID_AND_HU, *FIELD_CROP, *CUTS)

_PLANNING: Final = (
    "pt_17", "pt_36", "pt_52", "pt_83", "pt_88", "pt_109", "pt_132", "pt_141", "pt_164", "pt_190", "pt_218", "pt_224",
    "pt_230", "pt_242", "pt_243", "pt_248", "pt_251", "pt_268", "pt_275", "pt_280", "pt_303", "pt_305", "pt_308",
    "pt_332",
)  # fmt: skip

_SCANNED_OTHERWISE: Final = 4
"""Every fourth planning CT is also scaled and shifted."""


def _planning_scan(number: int, patient: str) -> RealScan:
    more = GRID_AND_HU if number % _SCANNED_OTHERWISE == 0 else ()
    return RealScan(
        f"{OPENKBP}-{patient}",
        f"{OPENKBP}/{patient}.nii.gz",
        "planning CT",
        "head and neck, planning CT for radiotherapy",
        "Babier et al., OpenKBP, ababier/open-kbp on GitHub, MIT",
        (*ALWAYS, *more, *FIELD_CROP, *CUTS),
    )


REAL_SCANS: Final = (
    RealScan("vtk-head", "vtk-head", "neck", "skull base to C6, intubated adult",
             "VTK data, fullHead, Kitware, BSD-3-Clause", _NECK),
    RealScan("weasis-neck", "weasis-neck", "neck", "whole neck, 71 years, kyphotic, C4 and C5 fused", _WEASIS, _NECK),
    RealScan("visible-human", "visible-human/visible-human-neck.nii.gz", "neck",
             "skull base to the top of C5, cadaver, 8-bit source",
             "Visible Human Project, U.S. National Library of Medicine, free of restrictions", _NECK),
    RealScan("weasis-rt", "weasis-rt", "neck", "C5 (cut) and below, planning CT of the chest", _WEASIS,
             (*ALWAYS, *GRID_AND_HU, *FIELD_CROP)),
    RealScan("ge-tilt", "ge-tilt", "other part", "head; C1 and the dens in the lowest slices",
             "neurolabusc/dcm_qa_ct on GitHub, BSD-2-Clause", ALWAYS),
    RealScan("philips-study", "philips-study", "other part", "skull phantom",
             "neurolabusc/dcm_qa_ct on GitHub, BSD-2-Clause", ALWAYS),
    RealScan("chest-thick", "chest-thick", "other part", "chest, slices of 8 mm",
             "Lung-PET-CT-Dx (The Cancer Imaging Archive), CC BY 4.0", ALWAYS),
    RealScan("lidc0314-thoracic", "thoracolumbar/lidc0314-thoracic.nii.gz", "other part", "T1 to T12, C7 cut",
             "LIDC-IDRI (The Cancer Imaging Archive), CC BY 3.0", (*ALWAYS, *GRID_AND_HU)),
    RealScan("acrin-ctc-lumbar", "thoracolumbar/acrin-ctc-lumbar.nii.gz", "other part", "T10 to S2, degenerative",
             "CT COLONOGRAPHY, ACRIN 6664 (The Cancer Imaging Archive), CC BY 3.0", (*ALWAYS, *GRID_AND_HU)),
    RealScan("lungfcp-0001-upperthoracic", "thoracolumbar/lungfcp-0001-upperthoracic.nii.gz", "other part",
             "C7/T1 to T6, 85 years, kyphotic", "Lung-Fused-CT-Pathology (The Cancer Imaging Archive), CC BY 3.0",
             (*ALWAYS, *GRID_AND_HU)),
    *(_planning_scan(number, patient) for number, patient in enumerate(_PLANNING)),
)  # fmt: skip
"""All scans, necks first."""

SCANS_BY_NAME: Final = {scan.name: scan for scan in REAL_SCANS}
"""Scans by name: processes are given names, because variants hold functions, which cannot be sent to them."""


def require_scan_names(names: Iterable[str]) -> None:
    """Raise InputError where one of the names is that of no scan."""
    if unknown := sorted({*names} - {*SCANS_BY_NAME}):
        raise InputError(f"{', '.join(unknown)}: no scans of the benchmark; its names are {', '.join(SCANS_BY_NAME)}")

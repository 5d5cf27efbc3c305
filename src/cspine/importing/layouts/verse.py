"""The layouts of VerSe: by subjects (2019 and 2020, as BIDS), and that of the MICCAI challenges.

::

    dataset-verse20training/rawdata/sub-verse500/sub-verse500_dir-ax_ct.nii.gz
    dataset-verse20training/derivatives/sub-verse500/sub-verse500_dir-ax_seg-vert_msk.nii.gz
    dataset-verse20training/derivatives/sub-verse500/sub-verse500_dir-ax_seg-subreg_ctd.json

    verse000.nii.gz  verse000_seg.nii.gz  verse000_ctd.json
"""

import re
from pathlib import Path
from typing import Final

from cspine.core.errors import SourceError
from cspine.core.text import counted
from cspine.importing.case import Case, FoundCases
from cspine.importing.layouts.names import official_part, stem, study_names

_MASK: Final = "_seg-vert_msk"
_CENTROIDS: Final = ("_seg-subreg_ctd.json", "_seg-vb_ctd.json")
_SUBJECT: Final = re.compile(r"(sub-[A-Za-z0-9]+|verse\d+)")


def find_cases(source: Path) -> FoundCases:
    """Return the scans of VerSe that have a mask.

    Parameters
    ----------
    source : Path
        Folder with any of its unpacked archives.

    Raises
    ------
    SourceError
        There are no masks of VerSe.
    """
    files = sorted(path for path in source.rglob("*.nii*") if not path.name.startswith("."))
    by_name = {path.relative_to(source).as_posix(): path for path in files}
    masks = {_key(path): path for path in files if stem(path).endswith((_MASK, "_seg"))}
    if not masks:
        raise SourceError(f"{source}: holds no *{_MASK}.nii.gz and no *_seg.nii.gz; give the unpacked VerSe")
    scans = [path for path in by_name.values() if _key(path) in masks and path != masks[_key(path)]]
    scan_keys = {_key(path) for path in scans}
    orphans = [path.name for key, path in masks.items() if key not in scan_keys]
    names = study_names("verse", [(_case(path), path.relative_to(source)) for path in scans])
    cases = tuple(_to_case(name, path, masks[_key(path)], source) for name, path in zip(names, scans, strict=True))
    warnings = (f"{counted(len(orphans), 'mask has', 'masks have')} no scan (first: {orphans[0]})",) if orphans else ()
    if not cases:
        raise SourceError(f"{source}: has masks and no scans; unpack rawdata/ beside derivatives/")
    return FoundCases(cases, warnings)


def _to_case(study: str, scan: Path, mask: Path, source: Path) -> Case:
    base = str(mask).removesuffix(".gz").removesuffix(".nii").removesuffix(_MASK)
    bodies = next((path for ending in _CENTROIDS if (path := Path(base + ending)).is_file()), None)
    subject = _SUBJECT.search(scan.name)
    return Case(
        study,
        _case(scan),
        scan,
        subject=subject[1] if subject else _case(scan),
        masks=mask,
        numbering="verse",
        bodies=bodies,
        official_part=official_part(scan.relative_to(source).parent),
    )


def _case(path: Path) -> str:
    """Return a case's name: a file's name without what says which of its files it is."""
    return stem(path).removesuffix(_MASK).removesuffix("_seg").removesuffix("_ct")


def _key(path: Path) -> tuple[str, str]:
    """Return what a scan and its mask share: the folder, whether rawdata or derivatives, and the case."""
    folder = path.parent.as_posix().replace("/derivatives", "/rawdata")
    return folder, _case(path)

"""The cases of a data set in any layout."""

from dataclasses import dataclass
from pathlib import Path

from cspine.core.errors import InputError, SourceError
from cspine.core.storage.locations import as_path
from cspine.importing.case import FoundCases
from cspine.importing.data_source import Layout
from cspine.importing.layouts import ctspine1k, hdn, nifti, rsna, totalsegmentator, verse
from cspine.localization.segmented.numbering import numbering_of
from cspine.localization.segmented.study_files import SegmentationFiles


@dataclass(frozen=True)
class AddedLabels:
    """Masks and labels that do not lie within a data set.

    Attributes
    ----------
    vertebrae : Path or None
        Folder of masks of vertebrae, named after the studies.
    vertebrae_labels : str
        Their numbering, as of `cspine.localization.segmented.numbering.NUMBERINGS`; of the layout totalsegmentator,
        that of its label maps.
    fractures : Path or None
        Folder of masks of fractures, named after the studies.
    labels : Path or None
        Table of labels in the form of the challenge's ``train.csv``.
    """

    vertebrae: Path | None = None
    vertebrae_labels: str = "auto"
    fractures: Path | None = None
    labels: Path | None = None

    @property
    def paths(self) -> dict[str, Path]:
        """The paths that are given, by option."""
        given = {"--vertebrae": self.vertebrae, "--fractures": self.fractures, "--labels": self.labels}
        return {option: as_path(path) for option, path in given.items() if path is not None}


def find_cases(layout: Layout, source: Path, added: AddedLabels, name: str) -> FoundCases:
    """Return the cases of a data set.

    Parameters
    ----------
    layout : str
        Layout of the data set.
    source : Path
        Its root.
    added : AddedLabels
        Masks and labels from elsewhere.
    name : str
        Name of the data set, by which plain NIfTI files of one name are told apart.

    Raises
    ------
    SourceError
        There is no such data set.
    InputError
        The layout takes no masks or labels from elsewhere, or the numbering is none.
    LabelError
        Tables are damaged.
    """
    if not source.is_dir():
        raise SourceError(f"{source}: is no folder; give that of the unpacked data set")
    allowed = {"hdn": {"--vertebrae"}, "nifti": {"--vertebrae", "--fractures", "--labels"}}.get(layout, set())
    if idle := [option for option in added.paths if option not in allowed]:
        raise InputError(f"{idle[0]}: is not for the layout {layout}, which has its own; leave it out")
    if layout in {"hdn", "nifti"}:
        masks = added.vertebrae or (nifti.mask_folder(source) if layout == "nifti" else None)
        vertebrae = SegmentationFiles.open(masks, added.vertebrae_labels) if masks else None
        if layout == "hdn":
            return hdn.find_cases(source, vertebrae)
        fractures = SegmentationFiles.open(added.fractures) if added.fractures else None
        return nifti.find_cases(name, source, vertebrae, fractures, added.labels)
    if layout == "totalsegmentator":
        return totalsegmentator.find_cases(source, numbering_of(added.vertebrae_labels))
    finders = {"rsna": rsna.find_cases, "verse": verse.find_cases, "ctspine1k": ctspine1k.find_cases}
    return finders[layout](source)

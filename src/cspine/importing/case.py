"""One study of somebody's data set, before it is read: its files and what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cspine.localization.segmented.numbering import Numbering


@dataclass(frozen=True)
class Case:
    """The files of one study, and what its data set says of it.

    Attributes
    ----------
    study : str
        StudyInstanceUID, or a name in its place that is unique across data sets.
    name : str
        Name of the case in its data set, for people.
    images : Path
        File or folder of its images.
    subject : str or None
        The data set's name of the patient; None where images or nothing tell it.
    masks : Path or None
        Label map of vertebrae, or folder with one mask for each.
    numbering : str
        Which vertebra each of its values is.
    bodies : Path or None
        VerSe's centroids of vertebral bodies.
    fractures : Path or None
        Mask of fractures.
    has_numbered_fractures : bool
        Whether its values are levels, as in the challenge's layout; otherwise they only tell fractures from the rest.
    targets : dict or None
        Known labels, by target; a target that is missing is not known. None where only masks tell.
    official_part : str
        Part of the data set's own split; empty where it has none.
    problem : str
        Why it cannot be imported; empty where it can.
    """

    study: str
    name: str
    images: Path
    subject: str | None = None
    masks: Path | None = None
    numbering: Numbering = "auto"
    bodies: Path | None = None
    fractures: Path | None = None
    has_numbered_fractures: bool = False
    targets: Mapping[str, int] | None = None
    official_part: str = ""
    problem: str = ""


@dataclass(frozen=True)
class FoundCases:
    """What a layout holds.

    Attributes
    ----------
    cases : tuple of Case
        At least one.
    warnings : tuple of str
        Sentences about files that were left out.
    labels_path : Path or None
        Table of labels in the challenge's form, if there is one.
    boxes_path : Path or None
        The challenge's table of bounding boxes, if there is one.
    """

    cases: tuple[Case, ...]
    warnings: tuple[str, ...] = field(default=())
    labels_path: Path | None = None
    boxes_path: Path | None = None

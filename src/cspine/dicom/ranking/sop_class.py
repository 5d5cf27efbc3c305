"""What an image is by its SOP class, whatever its Modality says or lacks."""

from typing import Final

from pydicom.uid import UID

_CT_CLASSES: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.1",  # enhanced
        "1.2.840.10008.5.1.4.1.1.2.2",  # legacy converted enhanced
    }
)

_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
"""Root of the secondary capture classes, in which some converters write CT slices."""

_STORAGE: Final = "1.2.840.10008.5.1.4."
"""Root of the standard's SOP classes of images; others, and private ones, state nothing that is known here."""


def other_kind(sop_class_uid: str | None, *, has_modality: bool) -> str | None:
    """Return the name of a SOP class that is not CT; None where it is CT, or unknown.

    Parameters
    ----------
    sop_class_uid : str or None
        SOPClassUID of the image.
    has_modality : bool
        Whether Modality states that the image is CT. A secondary capture is then taken for CT: it may be one that a
        converter wrote. An MR image is not.

    >>> other_kind("1.2.840.10008.5.1.4.1.1.4", has_modality=False)
    'MR Image Storage'
    >>> other_kind("1.2.840.10008.5.1.4.1.1.2", has_modality=False)
    """
    if sop_class_uid is None or sop_class_uid in _CT_CLASSES or not sop_class_uid.startswith(_STORAGE):
        return None
    uid = UID(sop_class_uid)
    if uid.name == sop_class_uid:  # not in the standard's table
        return None
    is_capture = uid == _SECONDARY_CAPTURE or uid.startswith(f"{_SECONDARY_CAPTURE}.")
    return None if is_capture and has_modality else str(uid.name)

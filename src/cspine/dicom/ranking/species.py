"""Whether images are of an animal, whose neck no reader of people's CT may answer."""

import re
from typing import Final

from cspine.dicom.codec.header import SliceHeader

_ANIMAL: Final = re.compile(
    r"(?<![A-Z])(?:CAN(?:INE|IS)|DOGS?|FEL(?:INE|IS)|CATS?|EQU(?:INE|US)|HORSES?|BOV(?:INE|INAE)|BOS|CATTLE|COWS?"
    r"|PORCINE|SUS|PIGS?|SWINE|OV(?:INE|IS)|SHEEP|CAPR(?:INE|A)|GOATS?|LAP(?:INE|INES)|ORYCTOLAGUS|RABBITS?"
    r"|MUR(?:INE|IDAE)|MUS|MOUSE|MICE|RAT(?:S|TUS)?|RODENTS?|MACAC\w*|MONKEYS?|AVIAN|BIRDS?|REPTIL\w*|FERRETS?)(?![A-Z])",
    re.IGNORECASE,
)
"""Names of the species that are scanned, in English and Latin (PS3.16, CID 7454)."""


def is_of_animal(header: SliceHeader) -> bool:
    """Return whether an image is of an animal, by AnatomicalOrientationType or PatientSpeciesDescription.

    >>> from types import SimpleNamespace
    >>> is_of_animal(SimpleNamespace(species="Canis lupus familiaris", anatomical_orientation=None))
    True
    >>> is_of_animal(SimpleNamespace(species="Homo sapiens", anatomical_orientation="BIPED"))
    False
    """
    is_quadruped = (header.anatomical_orientation or "").upper() == "QUADRUPED"
    return is_quadruped or bool(_ANIMAL.search(header.species or ""))

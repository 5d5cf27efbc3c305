"""What reports say of a vertebra beside its label."""

from typing import Final

from cspine.core.findings import VertebraFinding

_MIN_OLD_FRACTURE: Final = 0.5
"""Probability of an old fracture or non-union from which on it is stated: it is more probable than not."""


def remarks_of(vertebra: VertebraFinding) -> tuple[str, ...]:
    """Return a possible old fracture, and the reasons why the probability may not be reliable.

    >>> vertebra = VertebraFinding(level="C5", probability=0.1, old_fracture_probability=0.8, reasons=("motion",))
    >>> remarks_of(vertebra)
    ('old fracture or non-union possible (80 %, not calibrated)', 'motion')
    """
    probability = vertebra.old_fracture_probability
    if probability is None or probability < _MIN_OLD_FRACTURE:
        return vertebra.reasons
    return (f"old fracture or non-union possible ({100 * probability:.0f} %, not calibrated)", *vertebra.reasons)

"""Cervical-spine fracture detection in CT. Research use only; not a medical device.

The public names below are imported on first use, so that ``import cspine`` takes milliseconds and loads neither NumPy
nor ONNX Runtime.

Examples
--------
>>> import cspine
>>> cspine.VERTEBRAE
('C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7')
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "VERTEBRAE": "cspine.core.anatomy",
    "CspineError": "cspine.core.errors",
    "Detector": "cspine.pipelines.predict",
    "Findings": "cspine.core.findings",
    "VertebraFinding": "cspine.core.findings",
    "load_volume": "cspine.dicom",
}

__all__ = [
    "VERTEBRAE",
    "CspineError",
    "Detector",
    "Findings",
    "VertebraFinding",
    "__version__",
    "load_volume",
]

if TYPE_CHECKING:
    __version__: str
    from cspine.core.anatomy import VERTEBRAE
    from cspine.core.errors import CspineError
    from cspine.core.findings import Findings, VertebraFinding
    from cspine.dicom import load_volume
    from cspine.pipelines.predict import Detector


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    """Import a public name from its home module on first use."""
    if name == "__version__":
        value: Any = _installed_version()
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _installed_version() -> str:
    """Return the version of the installed package; that of a mere source tree is unknown."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - it takes as long as all else here

    try:
        return version("cspine")
    except PackageNotFoundError:
        return "0+unknown"


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)

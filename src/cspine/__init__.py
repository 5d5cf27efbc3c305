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
        value: Any = import_module("importlib.metadata").version("cspine")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)

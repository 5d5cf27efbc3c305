"""Cervical-spine fracture detection in CT. Research use only; not a medical device.

The public names below are imported when they are first used, so that ``import cspine`` stays quick and loads
neither torch, nor ONNX Runtime, nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

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
    from cspine.core.anatomy import VERTEBRAE
    from cspine.core.errors import CspineError
    from cspine.core.findings import Findings, VertebraFinding
    from cspine.dicom import load_volume
    from cspine.pipelines.predict import Detector


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    """Import a public name from its home module on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)

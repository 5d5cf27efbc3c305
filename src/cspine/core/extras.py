"""Which optional part of cspine brings a library, for the sentence that names it where it is missing."""

from importlib.util import find_spec
from typing import Final, Literal

from cspine.core.errors import MissingExtraError

EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "nifti": ("nibabel",),
    "evaluate": ("pandas", "pyarrow", "sklearn", "matplotlib"),
    "train": ("torch", "monai", "lightning_fabric", "onnx", "onnxscript", "lightning_utilities"),
    "tune": ("optuna",),
    "fhir": ("fhir",),
    "deidentify": ("dicomanonymizer",),
    "dicomweb": ("requests",),
    "serve": (
        "alembic",
        "dicomweb_client",
        "fastapi",
        "prometheus_client",
        "pynetdicom",
        "python_multipart",
        "sqlalchemy",
        "starlette",
        "uvicorn",
    ),
    "postgresql": ("pg8000",),
    "remote": ("obstore",),
    "dask": ("distributed",),
    "slurm": ("submitit",),
}
"""Name of an extra to the top-level modules that only it brings."""

FhirRelease = Literal["R5", "R4"]
"""Release of FHIR that the extra ``fhir`` writes: the one of HL7's guide for structured reports, and the one that most
servers read."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return the error that says which extra to install; None where the module belongs to none.

    >>> str(missing_extra(ModuleNotFoundError(name="torch")))
    'torch is not installed; run: pip install "cspine[train]" (in a checkout: pip install --editable ".[train]")'
    """
    module = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    return MissingExtraError(_sentence(module, extra)) if extra else None


def require_extra(extra: str) -> None:
    """Check that an extra is installed, without importing it.

    Raises
    ------
    MissingExtraError
        One of its modules is missing.
    """
    for module in EXTRAS[extra]:
        if find_spec(module) is None:
            raise MissingExtraError(_sentence(module, extra))


def _sentence(module: str, extra: str) -> str:
    return (
        f'{module} is not installed; run: pip install "cspine[{extra}]" (in a checkout: pip install --editable '
        f'".[{extra}]")'
    )

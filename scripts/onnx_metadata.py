"""Change the metadata of an ONNX file of cspine; its network stays."""

import json
from pathlib import Path
from typing import Any

import onnx

from cspine.core.files import write_bytes
from cspine.models.metadata import METADATA_KEY, LevelsMetadata


def update_levels_metadata(source: Path, target: Path, update: dict[str, Any]) -> None:
    """Write a level network with other metadata.

    Parameters
    ----------
    source, target : Path
        ONNX files; may be the same.
    update : dict
        Fields of `LevelsMetadata` with their new values.
    """
    model = onnx.load(source)
    (stored,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    metadata = LevelsMetadata.model_validate(json.loads(stored.value))
    stored.value = LevelsMetadata.model_validate({**dict(metadata), **update}).model_dump_json()
    write_bytes(target, model.SerializeToString(deterministic=True))

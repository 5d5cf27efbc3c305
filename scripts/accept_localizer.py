"""Record in the shipped level network that its accuracy was measured with the shipped localizer, and did not fall.

Run ``python -m scripts.evaluate_shifted`` with both first, and compare: the level network was trained with an earlier
localizer. Only the metadata of its file change: ``python -m scripts.accept_localizer``.
"""

import json

import onnx

from cspine.core.files import read_json, write_bytes, write_json
from cspine.models.metadata import METADATA_KEY, LevelsMetadata
from scripts.make_weights import RECIPES, SHIPPED, file_sha256, write_checksums


def main() -> None:
    file = SHIPPED / "levels.onnx"
    localizer = file_sha256(SHIPPED / "localizer.onnx")
    model = onnx.load(file)
    (stored,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    metadata = LevelsMetadata.model_validate(json.loads(stored.value))
    accepted = metadata.model_copy(update={"evaluated_localizers": (localizer,)})
    stored.value = accepted.model_dump_json()
    write_bytes(file, model.SerializeToString(deterministic=True))
    recipe = read_json(RECIPES / "levels.json")
    write_json(RECIPES / "levels.json", recipe | {"evaluated_localizers": [localizer], "sha256": file_sha256(file)})
    write_checksums()


if __name__ == "__main__":
    main()

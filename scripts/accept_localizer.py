"""Record in the shipped level network that its accuracy was measured with the shipped localizer, and did not fall.

Run ``python -m scripts.evaluate_shifted`` with both first, and compare: the level network was trained with an earlier
localizer. Only the metadata of its file change: ``python -m scripts.accept_localizer``.
"""

from cspine.core.files import read_json, write_json
from scripts.make_weights import RECIPES, SHIPPED, file_sha256, write_checksums
from scripts.onnx_metadata import update_levels_metadata


def main() -> None:
    file = SHIPPED / "levels.onnx"
    localizer = file_sha256(SHIPPED / "localizer.onnx")
    update_levels_metadata(file, file, {"evaluated_localizers": (localizer,)})
    recipe = read_json(RECIPES / "levels.json")
    write_json(RECIPES / "levels.json", recipe | {"evaluated_localizers": [localizer], "sha256": file_sha256(file)})
    write_checksums()


if __name__ == "__main__":
    main()

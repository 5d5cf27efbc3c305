"""Names of the files in the folder of a training run."""

from typing import Final

WEIGHTS_FILE: Final = "weights.onnx"
"""The trained network with its metadata."""

SPLIT_FILE: Final = "split.csv"
"""Studies that were used in training or validation, and their part."""

MODEL_CARD_FILE: Final = "weights.md"
"""Model card, written by the evaluation of the run."""

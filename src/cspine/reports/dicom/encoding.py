"""How segmentations are encoded: what callers choose from without importing a DICOM library."""

from typing import Literal

SegmentationType = Literal["labelmap", "binary"]
"""The encodings of the vertebrae's segmentation: the compact one, and the one that older viewers read."""

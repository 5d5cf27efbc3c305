"""Column names of the tables that rooms share."""

from typing import Final

STUDY: Final = "StudyInstanceUID"
"""Index of tables of studies, as the RSNA 2022 challenge names it."""

BOX_COLUMNS: Final = ("x", "y", "width", "height", "slice_number")
"""Columns of train_bounding_boxes.csv beside the study; pixels, and the InstanceNumber of the slice."""

POINT_COLUMNS: Final = ("x_lps_mm", "y_lps_mm", "z_lps_mm")
"""Columns of a point in the patient, LPS in mm."""

MARK_COLUMNS: Final = (STUDY, "level", "strength", *POINT_COLUMNS, "slice_number", "row", "column")
"""Columns of a table of marks: one row per point that a model reports."""

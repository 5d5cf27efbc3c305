"""Vertebra localization: coarse volume, localizer, instance segmentation, level assignment, compilation of studies."""

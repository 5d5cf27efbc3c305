"""Vertebrae from a segmentation that the user already has, in place of the localizer's."""

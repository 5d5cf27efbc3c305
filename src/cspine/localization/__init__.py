"""Vertebra localization: the coarse volume, the localizer, instances, level assignment."""

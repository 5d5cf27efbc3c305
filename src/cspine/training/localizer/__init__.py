"""Training of the localizer."""

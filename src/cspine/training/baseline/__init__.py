"""Training of the baseline CNN."""

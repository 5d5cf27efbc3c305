"""Training of the level classifier."""

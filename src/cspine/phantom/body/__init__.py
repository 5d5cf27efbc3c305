"""A phantom of the whole person, coarse below the neck, from which scans of any part of the body are drawn."""

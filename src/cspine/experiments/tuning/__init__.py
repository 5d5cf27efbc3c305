"""Search over training settings: the search space, the study that many workers share, and its outcome."""

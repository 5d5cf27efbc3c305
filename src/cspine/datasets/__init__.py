"""Data sets: labels, the compiled data set, splits, reference standards."""

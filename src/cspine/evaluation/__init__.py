"""Evaluation: predictions against a reference standard; cases, subgroups, drift, failures."""

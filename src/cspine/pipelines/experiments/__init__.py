"""Experiments on training: ablation of views, learning curves, search over settings."""

"""Experiments on networks: robustness to perturbations of scans, and ablation of the number of views."""

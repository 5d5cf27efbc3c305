"""Experiments: ablation studies, robustness to perturbations."""

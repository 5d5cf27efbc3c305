"""Evaluations, drift, robustness and ablations as Markdown, HTML pages and figures."""

"""Making of what ships with cspine, and its evaluation on data: ``python -m scripts.NAME``."""

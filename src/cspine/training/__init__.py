"""Training with PyTorch, MONAI and Lightning Fabric; the only place that imports them.

Install with ``pip install "cspine[train]"``.
"""

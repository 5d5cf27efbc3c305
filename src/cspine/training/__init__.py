"""Training with PyTorch, MONAI and Lightning Fabric; the only room that imports them.

Install with ``pip install "cspine[train]"``. One trainer (`cspine.training.trainer`) fits three networks: the level
network (`levels`), the localizer (`localizer`) and the CNN of the notebook (`baseline`). Each folder holds a network,
its data set, its `TrainingTask` and a ``train`` module from data to ONNX weights.
"""

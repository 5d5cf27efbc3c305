"""Models: ONNX sessions, the metadata that weights carry, the registry of weights."""

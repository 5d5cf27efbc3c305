"""Inference with ONNX Runtime; torch is never loaded here."""

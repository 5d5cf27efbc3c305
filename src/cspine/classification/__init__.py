"""Fracture classification: level classifier with ensembles and test-time augmentation, baseline, saliency maps."""

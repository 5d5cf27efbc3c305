"""The baseline: the CNN of the notebook that the project began with, on whole-spine sagittal images."""

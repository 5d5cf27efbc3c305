"""NIfTI: volumes as series of slices, the affine that places them, and the files that hold labels instead."""

"""Array types that rooms share; the shape stands in each docstring."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""Double-precision array of any shape."""

Floats32 = npt.NDArray[np.float32]
"""Single-precision array of any shape."""

Complexes = npt.NDArray[np.complexfloating]
"""Complex array of any shape and precision, such as a Fourier transform."""

Bools = npt.NDArray[np.bool_]
"""Boolean array of any shape."""

Grays = npt.NDArray[np.uint8]
"""8-bit gray image or stack of images."""

HounsfieldUnits = npt.NDArray[np.int16]
"""CT values in HU, indices [k, j, i]."""

Labels = npt.NDArray[np.uint8]
"""Label map, indices [k, j, i]; 0 is background."""

Indices = npt.NDArray[np.intp]
"""Integer array that indexes another one."""

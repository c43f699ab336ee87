"""Types of the compiled core; `native/binding/core.cpp` holds the definitions."""

import numpy as np
from numpy.typing import NDArray

def crc32c(data: NDArray[np.uint8] | bytes, previous: int = 0) -> int: ...

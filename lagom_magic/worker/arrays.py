"""Arrays and tensors that a training function returns: kept as `.npy`, those that can be images as PNG too.

Nothing is imported to find out what a value is: what is not imported has no instances.
"""

from __future__ import annotations

import sys
from typing import Any

#: Kinds of NumPy's types that are kept: not objects, which a `.npy` file holds pickled, and not raw memory.
_KINDS = "biufcSUmM"
#: A sparse tensor that takes more than this when it is dense stays as it is.
_MAX_DENSE_BYTES = 64 << 20
#: More are data, not a picture: its PNG would take longer than the array to write, and no page shows it.
_MAX_PIXELS = 1 << 24


def as_array(value: Any) -> tuple[Any, bool] | None:
    """The value as a NumPy array, and whether a tensor's first dimension may be colours; None when it is neither.

    Raises:
        Exception: what the library of a tensor raises when it cannot be converted.
    """
    if _is_a("numpy", "ndarray", value):
        array, is_tensor = value, False
    elif _is_a("torch", "Tensor", value):
        plain = value.detach().to_dense() if _is_sparse(value) else value.detach()
        if str(plain.dtype) == "torch.bfloat16":  # of which NumPy has none
            plain = plain.float()
        array, is_tensor = plain.resolve_conj().resolve_neg().cpu().numpy(), True
    elif _is_a("tensorflow", "Tensor", value):
        array, is_tensor = value.numpy(), False
    else:
        return None
    return (array, is_tensor) if array.dtype.kind in _KINDS and array.ndim > 0 else None


def is_too_sparse(value: Any) -> bool:
    """Whether it is a sparse tensor of PyTorch that would be huge as an array."""
    if not _is_a("torch", "Tensor", value) or not _is_sparse(value):
        return False
    return int(value.numel() * value.element_size()) > _MAX_DENSE_BYTES


def _is_sparse(tensor: Any) -> bool:
    return str(tensor.layout).startswith("torch.sparse")  # compressed ones are not `is_sparse`


def _is_a(module: str, name: str, value: Any) -> bool:
    cls = getattr(sys.modules.get(module), name, None)
    return isinstance(cls, type) and isinstance(value, cls)


def save_array(array: Any, path: str) -> None:
    """Writes a `.npy` file."""
    import numpy as np

    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)


def save_sparse(tensor: Any, path: str) -> None:
    """Writes a `.pt` file for `torch.load`."""
    sys.modules["torch"].save(tensor.detach(), path)


def as_pixels(array: Any, *, colours_first: bool) -> Any | None:
    """The array as 8-bit pixels for `save_pixels`, when it can be an image; else None.

    It can be one when it is H×W, H×W×1, H×W×3 or H×W×4, of a tensor also 1, 3 or 4 times H×W, with at least 2×2 pixels
    and at most some 16 million, and holds bytes (uint8) or floating-point numbers from 0 to 1. A matrix of counts is
    none.
    """
    import numpy as np

    if colours_first and array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    is_shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not is_shaped or min(array.shape[:2]) < 2 or array.shape[0] * array.shape[1] > _MAX_PIXELS:
        return None
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):  # nor with a nan, which compares false
        return None
    return np.ascontiguousarray((array.astype(np.float32) * 255).round().astype(np.uint8))


def save_pixels(pixels: Any, path: str) -> bool:
    """Writes a PNG; False where Pillow is not installed, on which Matplotlib relies too."""
    try:
        from PIL import Image
    except ImportError:
        return False
    Image.fromarray(pixels).save(path, format="PNG")
    return True

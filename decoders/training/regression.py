"""What a regression is trained to lower, and how well it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def squared_error(outputs: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Mean square of the errors in deviations of the targets, so that every output counts alike.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n, n_outputs)
        By hop.
    target : Tensor, shape (batch, m, n_outputs)
        Of the last m hops.
    scale : Tensor, shape (n_outputs,)
    """
    return ((outputs[:, -target.shape[1] :] - target) / scale).square().mean()


def r_squared(y: NDArray[np.floating], predicted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Part of the variance that is predicted, of each output: 1 is perfect, 0 as good as the mean, below 0 worse.

    Parameters
    ----------
    y, predicted : ndarray, shape (n, n_outputs)
    """
    wide = np.asarray(y, np.float64)
    left = ((wide - predicted) ** 2).sum(axis=0)
    return 1 - left / np.maximum(((wide - wide.mean(axis=0)) ** 2).sum(axis=0), 1e-300)


def correlation(y: NDArray[np.floating], predicted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's r of each output; 0 where one of the two is constant.

    Parameters
    ----------
    y, predicted : ndarray, shape (n, n_outputs)
    """
    a, b = (np.asarray(v, np.float64) - np.mean(v, axis=0, dtype=np.float64) for v in (y, predicted))
    return (a * b).sum(axis=0) / np.maximum(np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0)), 1e-300)

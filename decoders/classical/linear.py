"""The last stage that the classical decoders share: features to logits, fitted by scikit-learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fit_logistic(
    features: NDArray[np.float64], y: NDArray[np.integer], n_classes: int, *, C: float, intercept: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logistic regression with an L2 penalty, classes weighted as if equally frequent.

    Parameters
    ----------
    features : ndarray, shape (n_trials, n_features)
    y : ndarray, shape (n_trials,)
        Class indices.
    n_classes : int
    C : float
        Inverse strength of the penalty, as in scikit-learn.
    intercept : bool
        False: the intercept is zero.

    Returns
    -------
    coef : ndarray, shape (n_features, n_classes)
    intercept : ndarray, shape (n_classes,)
        ``features @ coef + intercept`` are logits; for two classes they are symmetric around 0.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, max_iter=5000, tol=1e-6, class_weight="balanced", fit_intercept=intercept)
    model.fit(features, y)
    coef, offset = model.coef_, np.broadcast_to(model.intercept_, len(model.coef_))
    if n_classes == 2:  # one row: the log odds of the second class
        coef, offset = np.concatenate((-coef, coef)) / 2, np.concatenate((-offset, offset)) / 2
    return np.ascontiguousarray(coef.T), np.array(offset)

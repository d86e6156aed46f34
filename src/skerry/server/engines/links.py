"""From sums of leaves to what an objective predicts: the inverse link functions that several objectives share."""

import numpy as np
import numpy.typing as npt

Margins = npt.NDArray[np.float64]
"""One row a class, one column a row of the request."""


def identity(margins: Margins) -> Margins:
    """For objectives whose sums are their predictions."""
    return margins


def exponential(margins: Margins) -> Margins:
    """For objectives that predict a logarithm; what is too large is infinite."""
    with np.errstate(over="ignore"):
        return np.exp(margins)


def sigmoid(margins: Margins) -> Margins:
    """For objectives that predict the logit of a probability."""
    with np.errstate(over="ignore"):
        result: Margins = 1 / (1 + np.exp(-margins))
    return result


def softmax(margins: Margins) -> Margins:
    """For objectives with classes that exclude each other."""
    powers = np.exp(margins - margins.max(axis=0, keepdims=True))
    result: Margins = powers / powers.sum(axis=0, keepdims=True)
    return result

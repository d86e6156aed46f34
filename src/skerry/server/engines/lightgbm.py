"""LightGBM's model files (text) without LightGBM.

Read are trees of all boosting types (gbdt, dart, goss, rf), with missing values, categorical splits (features are the
codes of their categories), several classes, and the objectives in the table below. Linear trees are refused when the
model is loaded, and so are objectives that are not known.

The file is lines of `key=value`: a head, a part for each tree, `end of trees`, and then what was only needed for
training. A child that is negative is a leaf, `~child`. `decision_type` is a set of bits: 1 a categorical split, 2 what
is missing goes left, 12 what is missing (0 nothing, 4 zeros, 8 NaN).
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skerry.server.engines.forest import Floats, Forest, Rules, Tree
from skerry.server.engines.links import Margins, exponential, identity, sigmoid, softmax
from skerry.server.engines.modelfile import content_of, load_error
from skerry.server.engines.tabular import TableModel, answers, table
from skerry.server.errors import LoadError
from skerry.server.options import ModelOptions

_RULES: Final = Rules(dtype=np.float64, equal_goes_right=False, listed_goes_right=False, unknown_goes_right=True)
_CATEGORICAL: Final = 1
_DEFAULT_LEFT: Final = 2
_IDENTITY: Final = frozenset(
    {
        "custom",
        "fair",
        "huber",
        "lambdarank",
        "mape",
        "none",
        "quantile",
        "rank_xendcg",
        "regression",
        "regression_l1",
    }
)
_LOGARITHMIC: Final = frozenset({"gamma", "poisson", "tweedie"})
_OTHERS: Final = frozenset({"binary", "cross_entropy", "cross_entropy_lambda", "multiclass", "multiclassova"})


class LightGBM:
    """The engine; it has no state."""

    def load(self, path: Path, options: ModelOptions) -> TableModel:
        """Load a model file; raises `LoadError`."""
        try:
            return _model(content_of(path), options.nireq)
        except LoadError as why:
            raise load_error(path, why) from None
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as why:
            raise load_error(path, f"it is no model of LightGBM ({type(why).__name__}: {why})") from None


def is_model(head: bytes) -> bool:
    """Whether a file that begins like this is one of LightGBM's."""
    return head.startswith((b"tree\n", b"tree\r\n"))


def _model(content: bytes, slots: int) -> TableModel:
    if not is_model(content):
        raise LoadError("it is no model of LightGBM: it does not begin with the line 'tree'")
    head, *parts = _parts(content.decode())
    classes = int(head["num_tree_per_iteration"])
    width = int(head["max_feature_idx"]) + 1
    trees = [_tree(part) for part in parts]
    if classes < 1 or len(trees) % classes:
        raise LoadError(f"it has {len(trees)} trees for {classes} classes")
    forest = Forest(trees, [number % classes for number in range(len(trees))], classes, width, _RULES)
    share = len(trees) // classes if "average_output" in head else 1
    predict = partial(_predict, forest, max(share, 1), _transformation(head.get("objective", "")))
    names = head.get("feature_names", "").split()
    tail = [classes] if classes > 1 else []
    specs = table("FP64", width), answers("FP64", tail)
    return TableModel("lightgbm", predict, specs, names if len(names) == width else (), slots or 1)


def _predict(forest: Forest, share: int, transform: Callable[[Margins], Margins], rows: Floats) -> npt.NDArray[Any]:
    result = transform(forest.margins(rows) / share)
    return result[0] if len(result) == 1 else result.T


def _parts(text: str) -> Iterator[dict[str, str]]:
    """The head and then each tree, as keys and values."""
    part: dict[str, str] = {}
    for line in text.splitlines():
        if line == "end of trees":
            yield part
            return
        if line.startswith("Tree="):
            yield part
            part = {}
        key, _, value = line.partition("=")
        part[key] = value
    raise LoadError("it ends before its trees do")


def _tree(part: dict[str, str]) -> Tree:
    if int(part.get("is_linear", "0")):
        raise LoadError("linear trees (linear_tree=true) are not supported")
    leaves = int(part["num_leaves"])
    inner = leaves - 1
    if inner < 0:
        raise LoadError("a tree has no leaves")

    def numbers(key: str, kind: Any, count: int) -> npt.NDArray[Any]:
        found = np.array(part[key].split(), kind) if count else np.zeros(0, kind)
        if len(found) != count:
            raise LoadError(f"a tree has {len(found)} values of {key} and not {count}")
        return found

    # Inner nodes first, then leaves: where there is no inner node the leaf is the root.
    decisions = numbers("decision_type", np.int64, inner)
    thresholds = numbers("threshold", np.float64, inner)
    nothing = np.full(leaves, -1)
    return Tree(
        left=np.concatenate([_place(numbers("left_child", np.int64, inner), inner), nothing]),
        right=np.concatenate([_place(numbers("right_child", np.int64, inner), inner), nothing]),
        feature=np.concatenate([numbers("split_feature", np.int64, inner), nothing]),
        threshold=np.concatenate([thresholds, np.zeros(leaves)]),
        value=np.concatenate([np.zeros(inner), numbers("leaf_value", np.float64, leaves)]),
        default_left=np.concatenate([decisions & _DEFAULT_LEFT != 0, np.ones(leaves, np.bool_)]),
        missing=np.concatenate([decisions >> 2 & 3, nothing]),
        categories=_categories(part, decisions, thresholds),
    )


def _place(children: npt.NDArray[np.int64], inner: int) -> npt.NDArray[np.int64]:
    return np.where(children < 0, ~children + inner, children)


def _categories(
    part: dict[str, str], decisions: npt.NDArray[np.int64], thresholds: npt.NDArray[np.float64]
) -> dict[int, list[int]]:
    """The sets by node. Each is a run of 32-bit words; the node's threshold is the number of the run."""
    found: dict[int, list[int]] = {}
    for node in np.flatnonzero(decisions & _CATEGORICAL):
        bounds = [int(bound) for bound in part["cat_boundaries"].split()]
        run = int(thresholds[node])
        words = np.array(part["cat_threshold"].split()[bounds[run] : bounds[run + 1]], np.uint32)
        bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")
        found[int(node)] = [int(bit) for bit in np.flatnonzero(bits)]
    return found


def _transformation(objective: str) -> Callable[[Margins], Margins]:
    """`objective` is a name and its settings: `binary sigmoid:1`; nothing where the training's was the user's own."""
    name, *settings = objective.split() or ["none"]
    if name == "regression" and "sqrt" in settings:
        return lambda margins: np.sign(margins) * margins * margins
    if name in _IDENTITY:
        return identity
    if name in _LOGARITHMIC:
        return exponential
    match name:
        case "multiclass":
            return softmax
        case "binary" | "multiclassova":
            scale = float(next((text[8:] for text in settings if text.startswith("sigmoid:")), "1"))
            return lambda margins: sigmoid(margins * scale)
        case "cross_entropy":
            return sigmoid
        case "cross_entropy_lambda":
            return lambda margins: np.log1p(np.exp(margins))
    supported = ", ".join(sorted(_IDENTITY | _LOGARITHMIC | _OTHERS))
    raise LoadError(f"objective {name} is not supported; supported are {supported}")

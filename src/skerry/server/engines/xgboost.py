"""XGBoost's model files (JSON and UBJSON) without XGBoost.

Read are boosters of kind `gbtree`, `dart` and `gblinear`, with missing values, categorical splits (features are the
codes of their categories, as they are for XGBoost itself), several classes, several targets with a tree each, and
random forests. What this cannot compute is refused when the model is loaded, by its name: trees with vectors in their
leaves, objectives that are not in the table below, the binary format of before 1.0.

A prediction is `transform(base + sum of leaves)`. The file keeps the base score as the objective's user sees it (a
probability, a mean), so it goes backwards through the same transformation first. All trees count, also those behind
`best_iteration`: so do they for `Booster.predict`, which KServe's server calls.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from skerry.server.engines import ubjson
from skerry.server.engines.forest import MISSING_NAN, Floats, Forest, Rules, Tree
from skerry.server.engines.links import Margins, exponential, identity, sigmoid, softmax
from skerry.server.engines.modelfile import content_of, load_error
from skerry.server.engines.tabular import TableModel, answers, table
from skerry.server.errors import LoadError
from skerry.server.options import ModelOptions

_RULES: Final = Rules(dtype=np.float32, equal_goes_right=True, listed_goes_right=True, unknown_goes_right=False)
_LOGISTIC: Final = frozenset({"binary:logistic", "reg:logistic"})
_LOGARITHMIC: Final = frozenset({"count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"})
_PLAIN: Final = frozenset(
    {
        "binary:logitraw",
        "rank:map",
        "rank:ndcg",
        "rank:pairwise",
        "reg:absoluteerror",
        "reg:linear",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "reg:squarederror",
        "reg:squaredlogerror",
    }
)
_OTHERS: Final = frozenset({"binary:hinge", "multi:softmax", "multi:softprob"})
_MOST_CATEGORIES: Final = 1 << 24
_OBJECTIVES: Final = _LOGISTIC | _LOGARITHMIC | _PLAIN | _OTHERS


class XGBoost:
    """The engine; it has no state."""

    def load(self, path: Path, options: ModelOptions) -> TableModel:
        """Load a model file; raises `LoadError`."""
        try:
            return _model(_parse(content_of(path)), options.nireq)
        except LoadError as why:
            raise load_error(path, why) from None
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError, RecursionError) as why:
            raise load_error(path, f"it is no model of XGBoost ({type(why).__name__}: {why})") from None


def is_model(head: bytes) -> bool:
    """Whether a file that begins like this is one of XGBoost's, in a format of now or of before."""
    return head.startswith((b"{L\0\0", b"binf", b"bs64")) or (head[:1] == b"{" and b'"learner"' in head)


def _parse(content: bytes) -> dict[str, Any]:
    if content[:1] != b"{":
        raise LoadError(
            "it is not JSON or UBJSON; load it with the XGBoost that wrote it and save it as model.ubj or model.json"
        )
    document = ubjson.decode(content) if content.startswith(b"{L\0") else _json(content)
    if not isinstance(document, dict) or "learner" not in document:
        raise LoadError("it is no model of XGBoost: there is no learner in it")
    learner: dict[str, Any] = document["learner"]
    return learner


def _json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return json.loads(content)  # XGBoost 2 writes NaN for what a categorical split does not have


def _model(learner: dict[str, Any], slots: int) -> TableModel:
    parameters = learner["learner_model_param"]
    width = int(parameters["num_feature"])
    objective = learner["objective"]["name"]
    if objective not in _OBJECTIVES:
        raise LoadError(f"objective {objective} is not supported; supported are {', '.join(sorted(_OBJECTIVES))}")
    groups = max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
    base = _base(parameters["base_score"], objective, groups)
    if learner["gradient_booster"]["name"] == "gblinear" and np.ptp(base):
        raise LoadError(
            "gblinear with different base scores by class is not supported, XGBoost itself uses the first for all;"
            " train with an explicit base_score"
        )
    sums = _booster(learner["gradient_booster"], width, groups)
    tail = [groups] if groups > 1 and objective != "multi:softmax" else []
    predict = partial(_predict, sums, base, _transformation(objective))
    specs = table("FP32", width), answers("FP32", tail)
    return TableModel("xgboost", predict, specs, _names(learner, width), slots or 1)


def _names(learner: dict[str, Any], width: int) -> list[str]:
    names = [str(name) for name in learner.get("feature_names") or []]
    return names if len(names) == width else []


def _base(text: str, objective: str, groups: int) -> Margins:
    """The base score as a margin; one number, or since XGBoost 3.1 one for each class."""
    numbers = np.array([float(part) for part in str(text).strip("[]").split(",")])
    if len(numbers) not in {1, groups}:
        raise LoadError(f"it has {len(numbers)} base scores for {groups} classes")
    with np.errstate(divide="ignore", invalid="ignore"):
        if objective in _LOGISTIC:
            numbers = -np.log(1 / numbers - 1)
        elif objective in _LOGARITHMIC:
            numbers = np.log(numbers)
    if not np.isfinite(numbers).all():
        raise LoadError(f"its base score {text} is impossible for {objective}")
    return np.broadcast_to(numbers, groups)[:, None]


def _booster(booster: dict[str, Any], width: int, groups: int) -> Callable[[Floats], Margins]:
    """What adds up a booster's contributions: a row a group, a column a row."""
    match booster["name"]:
        case "gblinear":
            weights = np.asarray(booster["model"]["weights"], np.float64).reshape(width + 1, groups)
            return lambda rows: (np.nan_to_num(rows) @ weights[:-1] + weights[-1]).T
        case "dart":
            return _forest(booster["gbtree"]["model"], width, groups, booster["weight_drop"])
        case "gbtree":
            return _forest(booster["model"], width, groups, None)
    raise LoadError(f"booster {booster['name']} is not supported; supported are gbtree, dart and gblinear")


def _forest(model: dict[str, Any], width: int, groups: int, weights: Any) -> Callable[[Floats], Margins]:
    infos = [int(group) for group in model["tree_info"]]
    scales = np.ones(len(infos)) if weights is None else np.asarray(weights, np.float64)
    trees = [_tree(tree, scale) for tree, scale in zip(model["trees"], scales, strict=True)]
    if len(trees) != len(infos) or (infos and not 0 <= min(infos) <= max(infos) < groups):
        raise LoadError("its trees do not agree with its classes")
    forest = Forest(trees, infos, groups, width, _RULES)
    return forest.margins


def _tree(tree: dict[str, Any], scale: float) -> Tree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise LoadError("vector leaves (multi_strategy=multi_output_tree) are not supported; use one_output_per_tree")
    conditions = np.asarray(tree["split_conditions"], np.float32)
    left = np.asarray(tree["left_children"], np.int64)
    found = Tree(
        left=left,
        right=np.asarray(tree["right_children"], np.int64),
        feature=np.asarray(tree["split_indices"], np.int64),
        threshold=conditions,
        value=conditions.astype(np.float64) * scale,
        default_left=np.asarray(tree["default_left"]).astype(np.bool_),
        missing=np.full(len(left), MISSING_NAN),
        categories=_categories(tree),
    )
    lengths = {len(array) for array in (left, found.right, found.feature, conditions, found.default_left)}
    if len(lengths) != 1:
        raise LoadError("a tree has arrays of different lengths")
    return found


def _categories(tree: dict[str, Any]) -> dict[int, list[int]]:
    """The sets by node; files of before 1.3 have none."""
    parts = [tree.get(f"categories_{name}", ()) for name in ("nodes", "segments", "sizes")]
    found = {}
    for node, start, size in zip(*parts, strict=True):
        members = [int(member) for member in tree["categories"][int(start) : int(start) + int(size)]]
        bounds = (min(members, default=-1), max(members, default=-1))
        if not (0 <= int(node) < len(tree["left_children"]) and 0 <= bounds[0] <= bounds[1] < _MOST_CATEGORIES):
            raise LoadError("a categorical split is damaged")
        found[int(node)] = members
    return found


def _predict(
    sums: Callable[[Floats], Margins], base: Margins, transform: Callable[[Margins], Margins], rows: Floats
) -> npt.NDArray[Any]:
    margins = sums(rows) + base
    result = transform(margins)
    return result[0] if len(result) == 1 else result.T


def _transformation(objective: str) -> Callable[[Margins], Margins]:
    if objective in _LOGISTIC:
        return sigmoid
    if objective in _LOGARITHMIC:
        return exponential
    match objective:
        case "multi:softprob":
            return softmax
        case "multi:softmax":
            return lambda margins: margins.argmax(axis=0)[None].astype(np.float64)
        case "binary:hinge":
            return lambda margins: (margins > 0).astype(np.float64)
    return identity

"""Trees of decisions, run with NumPy: what XGBoost's and LightGBM's models have in common.

All trees lie one after the other in flat arrays, one element a node. Every row of a request stands on one node of each
tree; a step moves all of them to a child at once, so the work is a handful of NumPy calls for each level, however
many trees and rows there are. A leaf's children are the leaf itself. Trees are sorted by depth, deepest first, so that
a step is only done for those that are not over yet.

The two libraries differ in how a value is compared, in what is missing and in which side a set of categories is; a
`Rules` says which. Values are added up in 64 bits. Where a leaf is found, it is the library's own, because thresholds
are compared in the library's own width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from skerry.server.errors import LoadError

Floats = npt.NDArray[np.floating[Any]]
Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_CHUNK: Final = 1 << 16
_ALMOST_ZERO: Final = 1e-35  # LightGBM's bound for zero as a missing value; XGBoost has no such thing

MISSING_NONE: Final = 0
MISSING_ZERO: Final = 1
MISSING_NAN: Final = 2


class Rules(msgspec.Struct, frozen=True):
    """How a library decides."""

    dtype: type[np.floating[Any]]
    equal_goes_right: bool
    listed_goes_right: bool
    """Where a value goes that is in a node's set of categories."""
    unknown_goes_right: bool
    """Where a value goes that no category can have: negative, or beyond all sets."""


class Tree(msgspec.Struct, frozen=True):
    """One tree; arrays have one element a node, the first is the root. Leaves have -1 as their left child."""

    left: Whole
    right: Whole
    feature: Whole
    threshold: Floats
    value: Floats
    default_left: Flags
    missing: Whole
    categories: Mapping[int, Sequence[int]]
    """By node, for nodes that ask for membership of a set."""


class Forest:
    """Trees whose leaves are added up, in groups that take turns: one group a class."""

    def __init__(
        self, trees: Sequence[Tree], groups: Sequence[int], group_count: int, width: int, rules: Rules
    ) -> None:
        """`groups` has a number below `group_count` for each tree. Raises `LoadError` for what is no tree."""
        self._rules = rules
        self._group_count = group_count
        if trees and len(set(groups)) != group_count:
            raise LoadError("a class has no trees")
        depths = np.array([_depth(number, tree, width) for number, tree in enumerate(trees)], np.int64)
        sizes = np.array([len(tree.left) for tree in trees], np.int64)
        starts = np.cumsum(sizes) - sizes
        order = np.argsort(-depths, kind="stable")
        self._roots = starts[order]
        # How many trees still have something to decide at each level.
        self._active = [int(np.count_nonzero(depths > level)) for level in range(int(depths.max(initial=0)))]
        place = np.empty(len(trees), np.int64)
        place[order] = np.arange(len(trees))
        by_group = np.argsort(groups, kind="stable")
        self._by_group = place[by_group]
        self._group_starts = np.searchsorted(np.asarray(groups)[by_group], sorted(set(groups)))
        self._lay_out(trees, starts)
        self._rows = max(_CHUNK // max(len(trees), 1), 1)

    def _lay_out(self, trees: Sequence[Tree], starts: Whole) -> None:
        self._children = _joined([_children(tree, int(start)) for tree, start in zip(trees, starts, strict=True)])
        self._feature = _joined([np.where(tree.left < 0, 0, tree.feature) for tree in trees])
        self._threshold = np.concatenate([np.zeros(0), *(tree.threshold for tree in trees)]).astype(self._rules.dtype)
        self._value = np.concatenate([np.zeros(0), *(tree.value for tree in trees)]).astype(np.float64)
        self._default_right = np.concatenate([np.zeros(0, np.bool_), *(~tree.default_left for tree in trees)])
        missing = _joined([np.where(tree.left < 0, MISSING_NAN, tree.missing) for tree in trees])
        # What every node says alike need not be looked up for each.
        self._zeros = bool(np.any(missing == MISSING_ZERO))
        self._missing = missing if np.any(missing != MISSING_NAN) else None
        self._sets = _Sets(trees, starts) if any(tree.categories for tree in trees) else None

    def margins(self, rows: Floats) -> npt.NDArray[np.float64]:
        """The sums of the leaves: one row a group, one column a row of the input, which has the rules' type."""
        if not len(self._roots):
            return np.zeros((self._group_count, len(rows)))
        if len(rows) <= self._rows:
            return self._chunk(rows)
        parts = [self._chunk(rows[start : start + self._rows]) for start in range(0, len(rows), self._rows)]
        return np.concatenate(parts, axis=1)

    def _chunk(self, rows: Floats) -> npt.NDArray[np.float64]:
        count, width = rows.shape
        values = rows.ravel()
        offsets = np.arange(count) * width
        special = self._zeros or bool(np.isnan(values).any())
        nodes = np.repeat(self._roots[:, None], count, axis=1)
        for active in self._active:
            present = nodes[:active]
            given = values.take(self._feature.take(present) + offsets)
            right = self._beyond(given, present)
            if special:
                right = self._where_missing(given, present, right)
            if self._sets is not None:
                right = self._sets.decide(given, present, right, self._default_right, self._rules)
            present *= 2
            present += right
            nodes[:active] = self._children.take(present)
        leaves = self._value.take(nodes.take(self._by_group, axis=0))
        sums: npt.NDArray[np.float64] = np.add.reduceat(leaves, self._group_starts, axis=0)
        return sums

    def _beyond(self, given: Floats, nodes: Whole) -> Flags:
        threshold = self._threshold.take(nodes)
        return given >= threshold if self._rules.equal_goes_right else given > threshold

    def _where_missing(self, given: Floats, nodes: Whole, right: Flags) -> Flags:
        absent = np.isnan(given)
        if self._missing is not None:
            kind = self._missing.take(nodes)
            # Where a node has no place for NaN it is a zero, and so it may still be what is missing.
            given = np.where(absent & (kind != MISSING_NAN), 0, given)
            right = self._beyond(given, nodes)
            absent = ((kind == MISSING_NAN) & absent) | ((kind == MISSING_ZERO) & (np.abs(given) <= _ALMOST_ZERO))
        return np.where(absent, self._default_right.take(nodes), right)


class _Sets:
    """The sets of categories, as bits in one array."""

    def __init__(self, trees: Sequence[Tree], starts: Whole) -> None:
        self._size = np.zeros(sum(len(tree.left) for tree in trees), np.int64)  # in bits; 0 where there is no set
        self._place = np.zeros(len(self._size), np.int64)
        bits: list[Flags] = [np.zeros(1, np.bool_)]
        used = 1
        for tree, start in zip(trees, starts, strict=True):
            for node, members in tree.categories.items():
                held = np.zeros(max(members, default=0) + 1, np.bool_)
                held[list(members)] = True
                self._size[start + node] = len(held)
                self._place[start + node] = used
                bits.append(held)
                used += len(held)
        self._bits = np.concatenate(bits)

    def decide(self, given: Floats, nodes: Whole, right: Flags, default_right: Flags, rules: Rules) -> Flags:
        """Overrule the comparison where the node has a set."""
        size = self._size.take(nodes)
        asked = size > 0
        if not asked.any():
            return right
        absent = np.isnan(given)
        category = np.where(absent | (np.abs(given) >= 2**31), -1, given).astype(np.int64)  # rounds to zero, as C does
        negative = (category < 0) if rules.unknown_goes_right else (given < 0) | (category < 0)
        known = ~negative & (category < size)
        listed = self._bits.take(np.where(known, self._place.take(nodes) + category, 0)) & known
        goes = listed if rules.listed_goes_right else ~listed
        goes = np.where(negative, rules.unknown_goes_right, goes)
        if not rules.unknown_goes_right:  # a missing category has a default; in LightGBM it is an unknown one
            goes = np.where(absent, default_right.take(nodes), goes)
        return np.where(asked, goes, right)


def _joined(parts: Sequence[Whole]) -> Whole:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def _children(tree: Tree, start: int) -> Whole:
    """Left and right of each node in turn; those of a leaf are itself."""
    own = np.arange(len(tree.left))
    leaf = tree.left < 0
    pairs = np.stack([np.where(leaf, own, tree.left), np.where(leaf, own, tree.right)], axis=1)
    return pairs.ravel() + start


def _depth(number: int, tree: Tree, width: int) -> int:
    """How many decisions the longest way has. Whatever a file says, every way must end, inside of the arrays."""
    count = len(tree.left)
    inner = tree.left >= 0
    if not count:
        raise LoadError(f"tree {number} has no nodes")
    for child in (tree.left[inner], tree.right[inner]):
        if child.size and (int(child.min()) < 1 or int(child.max()) >= count):
            raise LoadError(f"tree {number} has a node whose child does not exist")
    feature = tree.feature[inner]
    if feature.size and (int(feature.min()) < 0 or int(feature.max()) >= width):
        raise LoadError(f"tree {number} asks for feature {int(feature.max())}, and the model has {width}")
    depth, seen = -1, 0
    level = np.zeros(1, np.int64)
    while level.size:
        seen += level.size
        if seen > count:
            raise LoadError(f"tree {number} is no tree: its branches meet, or never end")
        depth += 1
        level = level[inner[level]]
        level = np.concatenate([tree.left[level], tree.right[level]])
    return depth

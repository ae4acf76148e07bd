"""How well a score ranks, and how sure that is.

Owns: the area under the ROC curve, bootstraps that draw whole sources, grouped cross-validation.
Does not know: what is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.int64]

FOLDS = 5
#: Strengths of the probe's regularisation; which one is chosen inside each training fold.
STRENGTHS = (0.01, 0.1, 1.0)


class Sure(NamedTuple):
    """A figure with its interval of 95 %."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> str:
        """In words."""
        return f"[{self.low:.3f}, {self.high:.3f}]"


def auroc(score: Array, label: Flags) -> float:
    """The share of pairs in which the positive one scores higher, ties half; NaN without both."""
    positive = np.asarray(label) == 1
    ups, downs = int(positive.sum()), int((~positive).sum())
    if not ups or not downs:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2)[place]
    return float((rank[positive].sum() - ups * (ups + 1) / 2) / (ups * downs))


def bootstrapped(
    figure: Callable[[NDArray[np.intp]], float], groups: Sequence[object], rounds: int
) -> Sure:
    """`figure` of all rows, and its interval when whole groups are drawn with replacement."""
    _, number = np.unique(np.array([str(g) for g in groups]), return_inverse=True)
    members = [np.flatnonzero(number == n) for n in range(number.max() + 1)]
    draws = np.random.default_rng(0)
    found = []
    for _ in range(rounds):
        chosen = draws.integers(len(members), size=len(members))
        found.append(figure(np.concatenate([members[n] for n in chosen])))
    known = np.array([f for f in found if np.isfinite(f)])
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
    return Sure(figure(np.arange(len(number))), float(low), float(high))


def held_out(features: Array, label: Flags, groups: Sequence[str]) -> Array:
    """Of every row the score by a logistic probe that saw no row of its group: [N]."""
    from sklearn.model_selection import GroupKFold

    out = np.zeros(len(label))
    for seen, new in GroupKFold(FOLDS).split(features, label, groups):
        inside = [groups[n] for n in seen]
        probe = _chosen(features[seen], label[seen], inside)
        out[new] = probe.fit(features[seen], label[seen]).decision_function(features[new])
    return out


def _chosen(features: Array, label: Flags, groups: Sequence[str]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    plain = LogisticRegression(max_iter=3000, class_weight="balanced")
    search = GridSearchCV(
        make_pipeline(StandardScaler(), plain),
        {"logisticregression__C": list(STRENGTHS)},
        scoring="roc_auc",
        cv=list(GroupKFold(min(4, len(set(groups)))).split(features, label, groups)),
    )
    return search.fit(features, label).best_estimator_

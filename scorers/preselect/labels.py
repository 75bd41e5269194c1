"""Which documents teach the classifier: positives (1), negatives (0), and the rest (null).

``paper``     positives are the documents of strength 1; negatives are taken from the lowest strength upwards until
              there are as many (PreSelect, arXiv 2503.00808, appendix A.1).
``quantile``  a share of the documents from the top and one from the bottom, for estimators that rarely reach 1.

Where a cut goes through documents of equal strength, a hash of (id, seed) decides, then the id: the same documents get
the same labels in whatever order they come.

    label(found.value, ids, "quantile", positive=0.2, negative=0.2, domains=domain_codes, per_domain=100)
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import xxhash

Rule = Literal["paper", "quantile"]

UNLABELLED = -1


def label(
    value: np.ndarray,
    ids: pa.Array | pa.ChunkedArray,
    rule: Rule = "paper",
    *,
    positive: float = 0.2,
    negative: float = 0.2,
    domains: np.ndarray | None = None,
    per_domain: int | None = None,
    seed: int = 0,
) -> pa.Array:
    """Labels of D documents, int8: 1, 0, or null for neither.

    value: float (D,), strengths; NaN is never labelled. ids: strings (D,).
    positive, negative: of ``quantile``: shares of the documents with a strength; rounded down, at least one of each.
    domains, per_domain: integers from 0 (D,), and how many positives, and how many negatives, a domain may give at
        most; the walk from the top or the bottom passes over further ones.
    ValueError for arrays that do not fit, shares that overlap, and when the rule finds no positive or no negative.
    """
    value = np.asarray(value, np.float64)
    if value.ndim != 1 or len(value) != len(ids) or (domains is not None and len(domains) != len(value)):
        found = "no" if domains is None else len(domains)
        raise ValueError(
            f"{value.shape} strengths, {len(ids)} ids and {found} domains; expected one of each per document"
        )
    if per_domain is not None and (domains is None or per_domain < 1):
        raise ValueError(f"per_domain is {per_domain}; expected 1 or more, together with the documents' domains")
    rows = np.flatnonzero(~np.isnan(value))
    ties = _ties(ids, seed)
    falling = rows[np.lexsort((ties[rows], -value[rows]))]
    rising = rows[np.lexsort((ties[rows], value[rows]))]
    if rule == "paper":
        top = _capped(falling[value[falling] == 1], domains, per_domain)
        if len(top) == 0:
            raise ValueError("no document has strength 1, which the rule 'paper' takes: use the rule 'quantile'")
        bottom = _capped(rising[value[rising] < 1], domains, per_domain)[: len(top)]
    elif rule == "quantile":
        if not (positive > 0 and negative > 0 and positive + negative <= 1):
            raise ValueError(f"shares {positive} and {negative}: expected two above 0 with a sum of at most 1")
        if len(rows) < 2:
            raise ValueError(f"{len(rows)} documents have a strength; expected two or more")
        top = _capped(falling, domains, per_domain)[: max(int(positive * len(rows) + 1e-9), 1)]
        free = np.ones(len(value), bool)
        free[top] = False  # reached only where caps make the walk long
        bottom = _capped(rising[free[rising]], domains, per_domain)[: max(int(negative * len(rows) + 1e-9), 1)]
    else:
        raise ValueError(f"no rule {rule!r}; there are {', '.join(get_args(Rule))}")
    if len(bottom) == 0:
        raise ValueError("no document is left for a negative: every strength is 1")
    labels = np.full(len(value), UNLABELLED, np.int8)
    labels[top], labels[bottom] = 1, 0
    return pa.array(labels, mask=labels == UNLABELLED)


def _ties(ids: pa.Array | pa.ChunkedArray, seed: int) -> np.ndarray:
    """A number per document that orders equal strengths: by xxh3 of the id under the seed, then by the id."""
    names = ids.to_pylist()
    hashes = np.fromiter((xxhash.xxh3_64_intdigest(name.encode(), seed=seed) for name in names), np.uint64, len(names))
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if len(same):  # next to never, unless an id is repeated
        order = np.array(sorted(range(len(names)), key=lambda row: (hashes[row], names[row])))
    ranks = np.empty(len(names), np.int64)
    ranks[order] = np.arange(len(names))
    return ranks


def _capped(rows: np.ndarray, domains: np.ndarray | None, per_domain: int | None) -> np.ndarray:
    """The rows, in their order, without those that come after ``per_domain`` others of their domain."""
    if domains is None or per_domain is None:
        return rows
    own = np.asarray(domains)[rows]
    order = np.argsort(own, kind="stable")
    starts = np.searchsorted(own[order], own[order])
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows)) - starts
    return rows[place < per_domain]

"""Estimates per domain projected to sampling weights, as a table.

    table = domain_weights(strengths, by="noise", keep=0.1)                  # from the sample's strengths
    table = corpus_weights(corpus, by="preselect_score", keep=0.1)           # from scores of the whole corpus

Columns, best estimate first: domain; documents, tokens (float64: of the pool, estimated where it comes from a sample);
estimate, the mean over the domain's tokens; cap, the domain's share of the tokens over `keep`; linear and l2, weights
that sum to 1 and never ask for more tokens than the domain has in a budget of `keep` of all tokens.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline import views
from pipeline.config_errors import nearest
from pipeline.errors import UserError
from pipeline.preselect.sample import domain_expression
from pipeline.workspace import Corpus
from scorers.preselect.projection import project, token_caps


def domain_weights(strengths: pa.Table, by: str, keep: float) -> pa.Table:
    """From a strength stage's table. A document counts for `weight` documents of the pool."""
    known = [f.name for f in strengths.schema if pa.types.is_float64(f.type) and f.name != "weight"]
    if by not in known:
        raise UserError(f"no strength {by!r}{nearest(by, known)}")
    table = strengths.select(["domain", "weight", "tokens", by]).rename_columns(["domain", "weight", "tokens", "value"])
    return _projected(table.drop_null(), keep)


def corpus_weights(corpus: Corpus, by: str, keep: float, domain: str | None = None) -> pa.Table:
    """From a column of `scored` over all documents outside the held-out split; needs the `lengths` stage's tokens."""
    import duckdb

    expression = domain_expression(corpus, domain)
    with views.opened(corpus.workspace, [corpus.name]) as connection:
        names = [row[0] for row in connection.sql("DESCRIBE scored").fetchall()]
        for wanted in (by, "tokens"):
            if wanted not in names:
                raise UserError(f"corpus {corpus.name!r} has no column {wanted!r}{nearest(wanted, names)}")
        kept = "AND NOT coalesce(held_out, false)" if "held_out" in names else ""
        try:
            table = connection.sql(
                f"""SELECT CAST({expression} AS VARCHAR) AS domain, 1.0::DOUBLE AS weight, tokens::BIGINT AS tokens,
                "{by}"::DOUBLE AS value FROM scored WHERE "{by}" IS NOT NULL AND tokens IS NOT NULL {kept}
                ORDER BY corpus, shard, id"""
            ).to_arrow_table()
        except duckdb.BinderException as error:
            raise UserError(f"domain {domain!r}: {' '.join(str(error).split())[:300]}") from None
    return _projected(table.drop_null(), keep)


def _projected(table: pa.Table, keep: float) -> pa.Table:
    if table.num_rows == 0:
        raise UserError("no document has an estimate, a domain and tokens: nothing to weigh")
    names, codes = np.unique(table.column("domain").to_pylist(), return_inverse=True)
    weight, value = table.column("weight").to_numpy(), table.column("value").to_numpy()
    tokens = weight * table.column("tokens").to_numpy()
    documents = np.bincount(codes, weights=weight)
    sizes = np.bincount(codes, weights=tokens)
    there = sizes > 0
    estimate = np.bincount(codes, weights=tokens * value)[there] / sizes[there]
    caps = token_caps(sizes[there], keep)
    found = pa.table(
        {
            "domain": pa.array(names[there].tolist(), pa.string()),
            "documents": documents[there],
            "tokens": sizes[there],
            "estimate": estimate,
            "cap": caps,
            "linear": project(estimate, caps, "linear"),
            "l2": project(estimate, caps, "l2"),
        }
    )
    return found.sort_by([("estimate", "descending"), ("domain", "ascending")])

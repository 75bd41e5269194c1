"""Token selections of fine-tuning data: how many tokens, how their scores are spread, and the text in colours."""

from __future__ import annotations

from typing import Any

import duckdb

from pipeline.errors import UserError
from pipeline.report.charts import histogram
from pipeline.report.part import Figure, Part, has_rows
from pipeline.workspace import Workspace

EACH = 6
CHARACTERS = 4000
TOTALS = """
SELECT corpus, selection, count(*) AS documents, count(*) FILTER (reason IS NULL) AS "taking part",
  sum(n_tokens)::BIGINT AS "response tokens", sum(n_selected)::BIGINT AS kept,
  sum(n_selected) / sum(n_tokens) AS share
FROM token_selections GROUP BY ALL ORDER BY corpus, selection
"""
SCORES = """
WITH tokens AS (
  SELECT corpus || ': ' || selection AS chosen, unnest(score)::DOUBLE AS value, unnest(selected) AS kept
  FROM token_selections WHERE reason IS NULL
), ranges AS (
  SELECT chosen, min(value) AS lowest, coalesce(nullif(max(value) - min(value), 0), 1) / 40 AS width
  FROM tokens WHERE isfinite(value) GROUP BY chosen
)
SELECT chosen, CASE WHEN kept = 1 THEN 'kept' ELSE 'left out' END AS fate, lowest + bin * width AS low,
  lowest + (bin + 1) * width AS high, count(*) AS tokens
FROM (SELECT *, least(floor((value - lowest) / width), 39) AS bin FROM tokens JOIN ranges USING (chosen)
  WHERE isfinite(value))
GROUP BY ALL ORDER BY chosen, low, fate
"""
TEXTS = f"""
SELECT corpus, selection, id, n_tokens AS "response tokens", n_selected AS kept FROM token_selections
WHERE reason IS NULL AND n_tokens > 0
QUALIFY row_number() OVER (PARTITION BY corpus, selection ORDER BY hash(id), id) <= {EACH}
ORDER BY corpus, selection, hash(id), id
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None without a token selection."""
    if not has_rows(connection, "token_selections"):
        return None
    note = "Tokens that compete; NaN scores are left out."
    chart = histogram("fate", "tokens")
    figures = (
        Figure("Token selections", TOTALS, kind="table"),
        Figure("Scores of tokens", SCORES, note, charts=(chart,), choose=("chosen",)),
        Figure(
            "Tokens in their text",
            TEXTS,
            "A few documents, drawn by a hash: kept tokens marked, dropped ones struck through, the prompt pale. "
            "`tamis tokens show` shows any other.",
            kind="tokens",
        ),
    )
    return Part("tokens", "Token selection", "", figures)


def with_pieces(workspace: Workspace, figure: dict[str, Any]) -> None:
    """Put the text of each row into a figure: [[piece, 0 prompt, 1 kept, 2 dropped], ...], or why it cannot."""
    from pipeline.tokens.show import views

    figure["pieces"] = []
    for row in figure["rows"]:
        facts = dict(zip(figure["columns"], row, strict=True))
        try:
            (view,) = views(workspace, facts["corpus"], facts["selection"], [facts["id"]])
            left, pieces = CHARACTERS, []
            for piece, kind in view.pieces:
                pieces.append([piece[:left], kind])
                left -= len(piece)
                if left <= 0:
                    break
            figure["pieces"].append(pieces)
        except (UserError, ValueError, OSError) as error:  # the tokenizer is gone, or no longer what it was
            figure["pieces"].append([[f"(the text cannot be shown: {error})", 0]])

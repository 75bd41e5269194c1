"""What repeats cost a model, by the two published fits of scorers.repetition.price, over epochs and sizes of models.

The formulas stand in the queries, so that whoever reads the page can change the size; the tests compare them with
what `tamis price` says.
"""

from __future__ import annotations

import duckdb

from pipeline.report.charts import SHARE, lines
from pipeline.report.part import Figure, has_rows, has_view
from scorers.repetition.price import R_STAR

PARAMETERS = {"10M": 1e7, "100M": 1e8, "1B": 1e9}
"""Within what the band was measured on."""
EPOCHS = (1, 2, 3, 4, 6, 8, 12, 16)
CLASSES = """
WITH counts AS (
  SELECT name AS repeats FROM stages WHERE folder LIKE 'repeats/%'
  QUALIFY row_number() OVER (PARTITION BY name ORDER BY created DESC, folder DESC) = 1
    AND coalesce(len(json_keys(fields->'against')), 0) = 0
), classes AS (
  SELECT repeats, multiplicity, sum(words) AS words FROM repeat_classes JOIN counts USING (repeats) GROUP BY ALL
  UNION ALL
  SELECT repeats, 1, sum(words) - coalesce((SELECT sum(words) FROM repeat_classes c WHERE c.repeats = s.repeats), 0)
  FROM repeat_sources s JOIN counts USING (repeats) GROUP BY repeats
), seen AS (
  SELECT *, multiplicity * epochs AS times FROM classes, (SELECT unnest({epochs}) AS epochs)
)
"""
WORTH = """
SELECT repeats, epochs, sum(words)::BIGINT AS words,
  sum(words / multiplicity * (1 + {r} * (1 - exp(-(times - 1) / {r})))) / sum(words * epochs) AS "worth of a word",
  1 - sum(words / multiplicity) / sum(words) AS "later copies"
FROM seen GROUP BY ALL ORDER BY repeats, epochs
"""
BAND = """
SELECT repeats, model, epochs, 4.2e6 * pow(parameters, -0.56) AS "from times seen",
  5.1e7 * pow(parameters, -0.5) AS "to times seen",
  coalesce(sum(words) FILTER (times > 1 AND times BETWEEN "from times seen" AND "to times seen"), 0) / sum(words)
    AS "share of the words"
FROM seen, (SELECT unnest([{models}], recursive := true)) GROUP BY repeats, model, parameters, epochs
ORDER BY repeats, parameters, epochs
"""


def figures(connection: duckdb.DuckDBPyConnection) -> list[Figure]:
    """Two figures where a corpus was counted with coverage, else none."""
    if not has_view(connection, "repeat_sources") or not has_rows(connection, "repeat_sources"):
        return []
    head = CLASSES.format(epochs=list(EPOCHS)).strip()
    if not connection.execute(f"{head} SELECT 1 FROM seen LIMIT 1").fetchall():
        return []
    models = ", ".join(f"{{'model': '{name}', 'parameters': {value}}}" for name, value in PARAMETERS.items())
    worth = lines("epochs", "worth of a word", tips=("later copies",), points=True, format=SHARE, zero=True)
    band = lines(
        "epochs", "share of the words", "model", ("from times seen", "to times seen"), True, format="~%", zero=True
    )
    return [
        Figure(
            "What a training word is worth",
            f"{head}\n{WORTH.format(r=R_STAR).strip()}",
            "Against a word seen once, by Muennighoff et al. (arXiv 2305.16264), whose fit repeats all data alike: "
            "class by class it is an extrapolation. `tamis price` says where else yours leaves its range.",
            charts=(worth,),
            choose=("repeats",),
            half=True,
        ),
        Figure(
            "Words in the damage band",
            f"{head}\n{BAND.format(models=models).strip()}",
            "Words seen as often as harmed models of that size most, by Hernandez et al. (arXiv 2205.10487); "
            "1 %, 3 % and 10 % are the levels of `tamis price`, which also goes beyond the 1B that was measured.",
            charts=(band,),
            choose=("repeats",),
            half=True,
        ),
    ]

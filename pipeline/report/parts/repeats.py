"""What repeats over the corpus: the spectrum, how much text is how often there, and examples to read."""

from __future__ import annotations

import duckdb

from pipeline.report.charts import bars, lines
from pipeline.report.part import Figure, Part, has_column, has_rows, has_view
from pipeline.report.parts import price

SPECTRUM = """
SELECT repeats || ', by ' || measure AS counted, multiplicity, "distinct", spans FROM repeat_spectrum
WHERE multiplicity > 0 AND "distinct" > 0 ORDER BY {last}, counted, multiplicity
"""
CLASSES = """
SELECT repeats, CASE WHEN multiplicity < 10 THEN multiplicity::VARCHAR WHEN multiplicity < 100 THEN '10 to 99'
    WHEN multiplicity < 1000 THEN '100 to 999' ELSE '1000 and more' END AS occurrences,
  sum(words)::BIGINT AS words, sum(chars)::BIGINT AS characters
FROM repeat_classes GROUP BY ALL ORDER BY bool_or({last}), repeats, min(multiplicity)
"""
SHARED = """
SELECT repeats, corpus, source, other_corpus AS "found in", other_source AS "its source", words
FROM repeat_shared ORDER BY words DESC, repeats, corpus, source, other_corpus, other_source LIMIT 60
"""
SPANS = """
SELECT repeats, ranking, rank, kind, left("text", 600) AS span, words, occurrences, documents,
  array_to_string(list_transform(places[:3], lambda p: coalesce(p.corpus, '') || ': ' || coalesce(p.id, '')), ', ')
    AS "found in"
FROM repeat_spans WHERE rank <= 20 ORDER BY {last}, repeats, ranking, rank
"""
UNITS = """
SELECT repeats, kind, corpus, source, units, repeated, later, round(later_chars / nullif(chars, 0), 4)
  AS "characters of later copies"
FROM repeat_units ORDER BY repeats, kind, corpus, source LIMIT 200
"""
# A count against other corpora: its occurrences are those in them, and level 1 is to stand there at all.
AGAINST = """
SELECT repeats, corpus, coalesce(source, '(others)') AS source, documents, words, words_1 AS "words found",
  words_1 / nullif(words, 0) AS share, array_to_string(json_keys(made.fields->'against'), ', ') AS "looked for in"
FROM repeat_sources LEFT JOIN (
  FROM stages WHERE folder LIKE 'repeats/%'
  QUALIFY row_number() OVER (PARTITION BY name ORDER BY created DESC, folder DESC) = 1
) AS made ON made.name = repeats WHERE words_1 IS NOT NULL
ORDER BY repeats, share DESC NULLS LAST, corpus, source LIMIT 200
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None where nothing was counted."""
    figures = []
    outside = has_column(connection, "repeat_sources", "words_1") and has_rows(connection, "repeat_sources")
    last = "repeats IN (SELECT repeats FROM repeat_sources WHERE words_1 IS NOT NULL)" if outside else "repeats IS NULL"
    if has_view(connection, "repeat_spectrum") and has_rows(connection, "repeat_spectrum"):
        chart = lines("multiplicity", "distinct", points=True, tips=("spans",), format="~s", log=True)
        note = "How many distinct spans occur so often; both axes are logarithmic."
        figures.append(
            Figure("Spectrum", SPECTRUM.format(last=last), note, charts=(chart,), choose=("counted",), half=True)
        )
        chart = bars("occurrences", "words", tips=("characters",))
        note = "Words of the text by how often their span occurs."
        figures.append(
            Figure(
                "How often text occurs",
                CLASSES.format(last=last),
                note,
                charts=(chart,),
                choose=("repeats",),
                half=True,
            )
        )
        note = "The first twenty of each ranking, with three of the places where each stands."
        figures.append(Figure("Spans to read", SPANS.format(last=last), note, kind="table"))
        if has_rows(connection, "repeat_shared"):
            figures.append(Figure("What sources share", SHARED, kind="table"))
    if outside:
        chart = bars("source", "share", tips=("words", "words found", "documents", "looked for in"), share=True)
        note = (
            "Share of a source's words that stand in the other corpora too, in spans of the count's length: with an "
            "evaluation set, what is contaminated."
        )
        figures.append(Figure("Found in another corpus", AGAINST, note, charts=(chart,), choose=("repeats",)))
    figures += price.figures(connection)
    if has_view(connection, "repeat_units") and has_rows(connection, "repeat_units"):
        note = (
            "Whole documents, paragraphs or lines that occur more than once; later copies are what a removal removes."
        )
        figures.append(Figure("Exact copies", UNITS, note, kind="table"))
    return Part("repeats", "What repeats over the corpus", "", tuple(figures)) if figures else None

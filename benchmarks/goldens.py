"""What datatrove, dolma and NeMo Curator themselves say of some documents: `python -m benchmarks.goldens`.

Each tool runs in its own environment (benchmarks/peers.py) on the documents of tests/scorers/profiles/documents.py; its
numbers and verdicts go to tests/scorers/profiles/goldens/<tool>.json, with the versions that gave them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from typing import Any

TOOLS = {
    "datatrove": ["datatrove", "spacy"],
    "dolma": ["dolma"],
    "nemo": ["nemo-curator"],
}
SEEDS = 6
"""NeMo's choice among several top n-grams follows PYTHONHASHSEED: it is run with so many of them."""


def main() -> int:
    """Make the environments and the goldens."""
    from benchmarks import peers
    from benchmarks.common import ROOT, say
    from tests.scorers.profiles.documents import GERMAN, documents

    folder = ROOT / "tests" / "scorers" / "profiles" / "goldens"
    request = json.dumps({"en": documents(), "de": GERMAN})
    for tool in TOOLS:
        peers.install(tool)
        answers = []
        for seed in range(SEEDS if tool == "nemo" else 1):
            done = subprocess.run(
                [str(peers.python_of(tool)), "-m", "benchmarks.goldens", tool],
                input=request,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)},
            )
            if done.returncode:
                say(f"{tool}: exit code {done.returncode}\n{done.stderr}")
                return 1
            answers.append(json.loads(done.stdout.splitlines()[-1]))
        whole = answers[0]
        if tool == "nemo":
            whole["nemo"] = _distinct([answer["nemo"] for answer in answers])
        folder.mkdir(exist_ok=True)
        (folder / f"{tool}.json").write_text(json.dumps(whole, indent=0, ensure_ascii=False, sort_keys=True) + "\n")
        say(f"{tool}: {folder / tool}.json")
    return 0


def _distinct(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """{document: {number: the distinct answers}}"""
    found: dict[str, Any] = {}
    for name in answers[0]:
        found[name] = {}
        for number in answers[0][name]:
            every = [answer[name][number] for answer in answers]
            found[name][number] = [one for k, one in enumerate(every) if one not in every[:k]]
    return found


def datatrove(texts: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Numbers by the functions that the filter calls, and the filter's verdict."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import gopher_repetition_filter as own
    from datatrove.utils.text import split_into_words

    from tests.scorers.profiles.fineweb2 import GERMAN_LIMITS

    def numbers(text: str, block: Any, language: str) -> dict[str, float]:
        if not text:
            return {}
        found = {}
        for unit, units in (
            ("para", block.paragraph_exp.split(text.strip())),
            ("line", block._line_splitter.split(text)),
        ):
            count, chars = own.find_duplicates(units)
            found[f"dup_{unit}_frac"] = count / len(units)
            found[f"dup_{unit}_char_frac"] = chars / len(text)
        words = split_into_words(text, language)
        for n in (2, 3, 4):
            if grams := own.get_n_grams(words, n):
                found[f"top_{n}_gram"] = own.find_top_duplicate(grams) / len(text)
        for n in range(5, 11):
            found[f"duplicated_{n}_n_grams"] = own.find_all_duplicate(words, n) / len(text)
        return found

    answers = {}
    for language, code, limits in (("en", "eng", {}), ("de", "deu", GERMAN_LIMITS)):
        block = own.GopherRepetitionFilter(language=code, **limits)
        answers[language] = {
            name: {
                "numbers": numbers(text, block, code),
                "verdict": block.filter(Document(text=text, id=name)),
            }
            for name, text in texts[language].items()
        }
    return answers


def dolma(texts: dict[str, dict[str, str]]) -> dict[str, Any]:
    """The attributes that concern repetition; dolma's taggers give no verdict."""
    from dolma.core.data_types import Document
    from dolma.taggers.gopher import GopherTagger, GopherTaggerV2

    answers: dict[str, Any] = {}
    for profile, tagger in (("dolma-v1", GopherTagger()), ("dolma-v2", GopherTaggerV2())):
        answers[profile] = {}
        for name, text in texts["en"].items():
            spans = tagger.predict(Document(source="", id=name, text=text)).spans
            kept = ("duplicate", "most_common")
            answers[profile][name] = {s.type: s.score for s in spans if any(word in s.type for word in kept)}
    return answers


def nemo(texts: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Scores and verdicts of the filters with the limits of the English pipeline; null where a filter raises."""
    from nemo_curator.stages.text.filters.heuristic import repetition as own

    filters = {
        "repeated_lines": own.RepeatedLinesFilter(),
        "repeated_paragraphs": own.RepeatedParagraphsFilter(),
        "repeated_lines_char": own.RepeatedLinesByCharFilter(),
        "repeated_paragraphs_char": own.RepeatedParagraphsByCharFilter(),
    }
    for n, limit in {2: 0.2, 3: 0.18, 4: 0.16}.items():
        filters[f"repeating_top_{n}grams"] = own.RepeatingTopNGramsFilter(n, limit)
    for n, limit in {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}.items():
        filters[f"repeating_dup_{n}gram"] = own.RepeatingDuplicateNGramsFilter(n, limit)

    def one(text: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, block in filters.items():
            try:
                score = block.score_document(text)
                found[name] = [score, bool(block.keep_document(score))]
            except ZeroDivisionError:
                found[name] = None
        return found

    return {"nemo": {name: one(text) for name, text in texts["en"].items()}}


def _answer(tool: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    made = {"datatrove": datatrove, "dolma": dolma, "nemo": nemo}[tool](json.load(sys.stdin))
    versions = {name: metadata.version(name) for name in TOOLS[tool]}
    answers.write(json.dumps({"versions": versions, **made}) + "\n")
    answers.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _answer(sys.argv[1])
    else:
        sys.exit(main())

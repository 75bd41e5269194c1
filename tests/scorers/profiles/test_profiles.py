"""Profiles against the tools themselves (goldens, made by `make peers`), and against what is known of the others."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.score import ScoreSpec
from scorers import scorer_module
from scorers.profiles import FOLLOWS, Settings, load
from scorers.profiles.rules import FINEWEB2, PROFILES
from scorers.texts import Texts
from tests.scorers.profiles.documents import EDGES, GERMAN, documents
from tests.scorers.profiles.fineweb2 import GERMAN_LIMITS

GOLDENS = Path(__file__).parent / "goldens"
LIBRARIES = {"datatrove": "spacy", "dclm": "uniseg", "olmo3": "uniseg"}


@cache
def golden(tool: str) -> dict[str, Any]:
    return json.loads((GOLDENS / f"{tool}.json").read_text())


def scored(profile: str, texts: dict[str, str], **settings: Any) -> dict[str, dict[str, Any]]:
    """{document: {number: value}} of a profile, without its prefix."""
    if profile in LIBRARIES:
        pytest.importorskip(LIBRARIES[profile])
    scorer = load(Settings(profile=profile, **settings), {}, "p")
    columns = scorer.score(Texts.from_arrow(pa.array(list(texts.values()), pa.large_string())))
    names = [field.name.removeprefix("p_") for field in scorer.schema]
    assert [column.type for column in columns] == scorer.schema.types
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return {name: dict(zip(names, row, strict=True)) for name, row in zip(texts, rows, strict=True)}


def numbers_of(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in ("keep", "reason") and value is not None}


def test_the_goldens_are_of_the_releases_that_the_profiles_follow() -> None:
    for tool, versions in (("datatrove", "datatrove"), ("dolma-v1", "dolma"), ("nemo", "nemo-curator")):
        made = golden(tool.removesuffix("-v1"))["versions"][versions]
        assert f"{versions} {made}" in FOLLOWS[tool]


@pytest.mark.parametrize("language", ["en", "de"])
def test_datatrove_numbers_and_verdicts_are_datatroves(language: str) -> None:
    texts = documents() if language == "en" else GERMAN
    found = scored("datatrove", texts, language=language)
    reasons = set()
    for name, expected in golden("datatrove")[language].items():
        assert numbers_of(found[name]) == expected["numbers"], name
        kept, reason = (True, None) if expected["verdict"] is True else expected["verdict"]
        assert (found[name]["keep"], found[name]["reason"]) == (kept, reason), name
        reasons.add(reason)
    assert len(reasons) > (5 if language == "en" else 1)


@pytest.mark.parametrize("profile", ["dolma-v1", "dolma-v2"])
def test_dolma_numbers_are_dolmas(profile: str) -> None:
    found = scored(profile, documents())
    for name, expected in golden("dolma")[profile].items():
        assert numbers_of(found[name]) == pytest.approx(expected, rel=1e-12, abs=0), name


def test_nemo_numbers_and_verdicts_are_nemos() -> None:
    found = scored("nemo", documents())
    uncertain = 0
    for name, expected in golden("nemo")["nemo"].items():
        failed = None
        for number in PROFILES["nemo"].limits:  # in its order
            value, answers = found[name][number], expected[number]
            if len(answers) > 1:  # NeMo's answer follows the hash seed of its process
                uncertain += 1
                possible = shares_of_top_grams(documents()[name], int(re.sub(r"\D", "", number)))
                assert {value} | {score for score, _ in answers} <= possible
                failed = failed or (number if found[name]["reason"] == number else None)
                continue
            if answers[0] is None:
                assert value is None
                failed = failed or f"{number} undefined"
                continue
            assert value == answers[0][0], (name, number)
            failed = failed or (None if answers[0][1] else number)
        assert (found[name]["keep"], found[name]["reason"]) == (failed is None, failed), name
    assert 0 < uncertain < len(expected) * len(found) / 5


def shares_of_top_grams(text: str, n: int) -> set[float]:
    """What each of the most frequent n-grams would score."""
    words = text.split()
    counts = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    top = [" ".join(gram) for gram, count in counts.items() if count == max(counts.values())]
    return {(len(text) - len(text.replace(gram, ""))) / len(text) for gram in top}


DOUBLED = EDGES["twice"]
TABLE = [
    # text, profile, number, value: of the same text, what each tool says
    (DOUBLED, "datatrove", "dup_line_frac", 0.5),
    (DOUBLED, "dolma-v1", "fraction_of_duplicate_lines", 2 / 3),
    (DOUBLED, "dolma-v2", "fraction_of_duplicate_lines", 1.0),
    (DOUBLED, "nemo", "repeated_lines", 0.5),
    (DOUBLED, "dclm", "line_count", 1.0),
    (DOUBLED, "olmo3", "line_count", 1.0),
    (DOUBLED, "rpv2", "rps_doc_frac_chars_dupe_5grams", 1.0),
    (DOUBLED, "dclm", "5gram_all", 1.0),
    (DOUBLED, "olmo3", "5gram_all", 1.0),
    (EDGES["six long words"], "rpv2", "rps_doc_frac_chars_top_2gram", 0.0),
    (EDGES["six long words"], "dclm", "2gram_top", 0.0),
    (EDGES["six long words"], "olmo3", "2gram_top", 0.0),
    (EDGES["six long words"], "nemo", "repeating_dup_10gram", 1.0),
    (EDGES["a a a"], "rpv2", "rps_doc_frac_chars_top_4gram", 197 * 4 / 200),
    (EDGES["a a a"], "dclm", "4gram_top", 197 * 4 / 200),
    (EDGES["a a a"], "olmo3", "4gram_top", 1.0),
    (EDGES["a a a"], "rpv2", "rps_doc_frac_chars_dupe_10grams", 1.0),
    (EDGES["half equal lines"], "datatrove", "dup_line_frac", 2 / 6),
    (EDGES["half equal lines"], "dclm", "line_count", 3 / 6),
    (EDGES["half equal lines"], "olmo3", "line_count", 3 / 6),
    (EDGES["blank lines between"], "dolma-v1", "fraction_of_duplicate_lines", 11 / 23),
    (EDGES["blank lines between"], "dolma-v2", "fraction_of_duplicate_lines", 0.0),
    (EDGES["blank lines between"], "dclm", "line_count", 0.0),
    # dclm's own tests: of several top n-grams the longest counts, and overlaps count each time
    ("a b a b a b ab cd ab cd ab cd abc def abc def", "dclm", "2gram_top", 12 / 30),
    ("a b a b a b abc def abc def ab cd ab cd ab cd", "dclm", "2gram_top", 12 / 30),
    ("hello world hello\n world hello. apple world hello world hello world hello world", "dclm", "5gram_all", 60 / 65),
    # datamap-rs' own tests: coverage, in single precision
    ("a b c a b d", "olmo3", "2gram_top", 4 / 6),
    ("a a a a a a b c d f", "olmo3", "4gram_top", 6 / 10),
    (
        "to be or not to be that is the question to be or not to be I don't know the answer.",
        "olmo3",
        "2gram_top",
        16 / 62,
    ),
    ("a b c", "olmo3", "3gram_top", 0.0),
    ("hello", "olmo3", "line_count", 0.0),
    ("", "olmo3", "line_count", 1.0),
    ("short\nlooooong\nshort\nmedium", "olmo3", "line_chars", 10 / 24),
]


@pytest.mark.parametrize(("text", "profile", "number", "value"), TABLE)
def test_numbers_of_the_other_tools_are_those_of_the_table(text: str, profile: str, number: str, value: float) -> None:
    assert scored(profile, {"it": text})["it"][number] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("six long words", {"rpv2", "dclm", "olmo3"}),
        ("blank lines between", set(PROFILES) - {"dolma-v1"}),
        ("empty", {"dolma-v1", "dolma-v2", "rpv2"}),
        ("blank", {"rpv2"}),
    ],
)
def test_who_keeps_what(name: str, kept: set[str]) -> None:
    assert {profile for profile in PROFILES if scored(profile, {"it": EDGES[name]})["it"]["keep"]} == kept


def test_a_share_of_exactly_the_limit_passes() -> None:
    row = scored("olmo3", {"it": "aa\nbb\ncc\ndd\nee\nff\ngg\nhh\nii\nii"})["it"]
    assert row["line_count"] == pytest.approx(0.2)
    assert row["reason"] is None
    assert scored("olmo3", {"it": "aa\nbb\ncc\ndd\nee\nff\ngg\nhh\nii\nii"}, limits={"line_count": 0.19})["it"][
        "reason"
    ]


def test_limits_can_be_changed_and_switched_off() -> None:
    text = {"it": EDGES["thrice in lines"]}
    assert scored("dolma-v2", text)["it"]["reason"] == "fraction_of_duplicate_lines"
    off = dict.fromkeys(PROFILES["dolma-v2"].limits)
    assert hash(Settings(profile="dolma-v2", limits=off)) == hash(Settings(profile="dolma-v2", limits=off))
    assert scored("dolma-v2", text, limits=off)["it"]["keep"]


def test_fineweb2_limits_are_those_of_its_configuration() -> None:
    grams = [limit for key in ("top_n_grams", "dup_n_grams") for _, limit in GERMAN_LIMITS[key]]  # type: ignore[union-attr]
    assert FINEWEB2["de"] == (GERMAN_LIMITS["dup_line_frac"], *grams)
    assert {len(row) for row in FINEWEB2.values()} == {10}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"profile": "datatrov"}, "profile"),
        ({"profile": "nemo", "limits": {"dup_line_frac": 0.2}}, "profile nemo has repeated_lines"),
        ({"profile": "datatrove", "language": "english"}, "expected a code"),
        ({}, "profile: missing"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ScoreSpec.of("profile", **settings)


def test_an_unknown_language_is_named() -> None:
    pytest.importorskip("spacy")
    with pytest.raises(ValueError, match="no language 'qq'"):
        load(Settings(profile="datatrove", language="qq"), {}, "p")


@given(st.lists(st.text(st.sampled_from("ab \n.é你\r\t"), max_size=40), min_size=1, max_size=3))
def test_every_text_has_numbers_and_a_verdict(texts: list[str]) -> None:
    for profile in PROFILES:
        if profile in LIBRARIES:
            continue
        for row in scored(profile, {str(i): text for i, text in enumerate(texts)}).values():
            assert row["keep"] == (row["reason"] is None)
            assert all(value >= 0 for value in numbers_of(row).values())


def test_the_scorer_is_listed() -> None:
    assert scorer_module("profile").VERSION >= 1

"""A wrong config is one clear line that says where, what was expected, and the nearest known name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import config
from pipeline.errors import UserError

GOOD = """
corpora:
  web: {sources: [data.jsonl], held_out: 0.1}
scores:
  - lengths
  - {scorer: fasttext, alias: language, model: hf://owner/repo/lid.bin, top: 1}
selections:
  best: {by: chars, budget: 10% documents}
exports:
  best: {selection: best, format: hf}
"""


def loaded(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return config.load(str(path))


def test_a_good_config_is_read_with_paths_beside_it(tmp_path: Path) -> None:
    read = loaded(tmp_path, GOOD)
    assert read.corpora["web"].sources == [str(tmp_path / "data.jsonl")]
    assert [entry.spec.alias for entry in read.scores] == ["lengths", "language"]
    assert read.scores[1].spec.settings.model == "hf://owner/repo/lid.bin"
    assert read.scores[0].corpora == ("web",)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("corpora: {web: {source_s: [a]}}", r"corpora\.web: source_s: unknown key; did you mean 'sources'"),
        ("corpora: {web: {}}", r"corpora\.web: sources: missing"),
        ("corpra: {}", "corpra: unknown key; did you mean 'corpora'"),
        ("scores: [lenghts]", r"scores\[0\]: unknown scorer 'lenghts'; did you mean 'lengths'"),
        ("scores: [{scorer: fasttext}]", r"scores\[0\]: model: missing"),
        ("scores: [{scorer: preselect, model: x, newline: y}]", r"scores\[0\]: newline"),
        ("scores: [lengths, lengths]\ncorpora: {a: {sources: [b]}}", r"scores\[1\]: alias 'lengths' is used twice"),
        ("corpora: {a/b: {sources: [c]}}", "expected letters"),
        ("corpora: {a: {sources: [b]}}\ncorpora: {c: {sources: [d]}}", "key 'corpora' stands twice"),
        ("corpora: [web]", "corpora: expected names with their settings, got a list"),
        ("scores: {scorer: lengths}", "scores: expected a list of scorers, got a mapping"),
        (
            "selections: {best: {corpora: [wbe]}}\ncorpora: {web: {sources: [a]}}",
            "'wbe' is not in this config; did you",
        ),
        ("exports: {e: {selection: bset}}\nselections: {best: {by: x, budget: 1 documents}}", "did you mean 'best'"),
        ("selections: {best: {by: x, budget: 10 parsecs}}", "budget"),
        ("just text", "expected a mapping"),
        ("a: [", "not valid YAML"),
        ("a: " + "[" * 2000, "nested too deeply"),
        ("? [a]\n: b", "a list or a mapping cannot be a key"),
        ("a: 2026-13-45", "holds a value that YAML cannot make"),
        (
            "a: &a [x]\n"
            + "".join(
                f"b{i}: &b{i} [{'*a, ' * 9}*a]\n".replace("*a", "*a" if i == 0 else f"*b{i - 1}") for i in range(7)
            ),
            "its aliases",
        ),
    ],
)
def test_a_wrong_config_says_where_and_what(tmp_path: Path, wrong: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        loaded(tmp_path, wrong)
    assert str(tmp_path / "run.yaml") in str(caught.value)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: cannot be read"):
        config.load(str(tmp_path / "nowhere.yaml"))


def test_repeats_are_of_all_other_corpora_and_their_mistakes_have_a_place(tmp_path: Path) -> None:
    text = "corpora: {web: {sources: [a.jsonl]}, quiz: {sources: [b.jsonl]}}\nrepeats: {leak: {against: [quiz]}}\n"
    assert loaded(tmp_path, text).repeats["leak"].corpora == ["web"]
    with pytest.raises(UserError, match=r"repeats\.leak\.against: 'quizz' is not in this config; did you mean 'quiz'"):
        loaded(tmp_path, text.replace("[quiz]}}", "[quizz]}}"))
    with pytest.raises(UserError, match=r"repeats\.leak: windows: unknown key; did you mean 'window'"):
        loaded(tmp_path, text.replace("{against: [quiz]}", "{windows: 20}"))
    with pytest.raises(UserError, match=r"repeats\.leak: a scorer has that alias"):
        loaded(tmp_path, text + "scores: [{scorer: lengths, alias: leak}]\n")

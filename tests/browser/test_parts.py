"""Parts that came later, in a real browser: drawn, legible, and a real token selection in its colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.workspace import Workspace
from tests.browser.conftest import SCREENSHOTS, Open
from tests.browser.test_report import CONTRAST
from tests.pipeline.report.chats import TALKS
from tests.pipeline.report.rich import rich

pytestmark = pytest.mark.browser

# Labels of one axis whose boxes meet; slanted ones are left to their angle.
OVERLAPS = """() => [...document.querySelectorAll('.chart svg .role-axis-label')].flatMap((axis) => {
  const labels = [...axis.querySelectorAll('text')].filter((t) => t.textContent && t.getAttribute('opacity') !== '0'
    && !/rotate/.test(t.getAttribute('transform') || ''));
  const boxes = labels.map((t) => [t.textContent, t.getBoundingClientRect()]);
  return boxes.flatMap(([a, x], i) => boxes.slice(i + 1).filter(([, y]) =>
    x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 2 && y.top < x.bottom - 2)
    .map(([b]) => `${a} | ${b}`));
})"""
FOCUS = """(element) => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const style = getComputedStyle(element), ground = light(getComputedStyle(document.body).backgroundColor);
  const [a, b] = [light(style.outlineColor), ground].sort((x, y) => y - x);
  return [style.outlineStyle, parseFloat(style.outlineWidth), (a + 0.05) / (b + 0.05)];
}"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = tmp_path_factory.mktemp("rich")
    return rich(f"{place}/rich", place / "tokenizer")


@pytest.fixture
def page(workspace: Workspace, made: Callable[[Workspace], Path], open_page: Open) -> Any:
    return open_page(made(workspace))


def test_every_part_is_drawn_without_a_word_on_the_console(page: Any) -> None:
    for name in ("near", "labels", "repeats", "membership", "tokens"):
        charts = page.locator(f"#{name} .chart")
        assert charts.count() > 0, name
        assert page.locator(f"#{name} .chart svg").count() == charts.count(), name
    assert page.evaluate("window.harmed") is None
    assert page.complaints == []


def test_tokens_stand_in_their_text_by_colour_and_by_stroke(page: Any) -> None:
    cards = {card.locator("strong").text_content(): card for card in page.locator("#tokens article.card").all()}
    for name in set(TALKS) & set(cards):
        text = cards[name].locator(".text")
        assert all(said in text.text_content() for said in TALKS[name])
        # A text, not a row of boxes: a line of it is about as high as its letters.
        assert text.evaluate("(e) => getComputedStyle(e).display") == "block"
    card = cards["vacuum"]
    strokes = {
        kind: card.locator(f".text .{kind}").first.evaluate(
            "(e) => [getComputedStyle(e).backgroundColor, getComputedStyle(e).textDecorationLine]"
        )
        for kind in ("prompt", "kept", "dropped")
    }
    assert strokes["dropped"][1] == "line-through"
    assert strokes["kept"][1] == strokes["prompt"][1] == "none"
    assert strokes["kept"][0] != strokes["prompt"][0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_focus_stand_out_and_labels_of_axes_do_not_meet(
    workspace: Workspace, made: Callable[[Workspace], Path], open_page: Open, scheme: str
) -> None:
    page = open_page(made(workspace), color_scheme=scheme)
    assert {name: ratio for name, ratio in page.evaluate(CONTRAST).items() if ratio < 4.5} == {}  # WCAG 2.2, AA
    assert page.locator(".chart svg .role-axis-label text").count() > 50
    assert page.evaluate(OVERLAPS) == []
    page.keyboard.press("Tab")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate_handle("document.activeElement").as_element()
        kind, width, ratio = focused.evaluate(FOCUS)
        name = focused.evaluate("(e) => e.tagName")
        seen.add(name)
        assert kind == "solid", name
        assert width >= 2, name
        assert ratio >= 3, name
    assert {"A", "BUTTON", "SUMMARY", "SELECT"} <= seen


def test_a_token_selection_as_the_docs_show_it(page: Any, tmp_path: Path) -> None:
    folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vacuum",):
        page.locator(f"#tokens article.card:has(strong:text-is('{name}'))").screenshot(
            path=folder / f"report-tokens-{name}.png"
        )
    assert len(list(folder.glob("report-tokens-*.png"))) == 1

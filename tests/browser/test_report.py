"""The report as a person sees it, in a real browser: drawn, clicked, typed into, and fed text that means harm."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.page import plain
from pipeline.sql import query
from pipeline.workspace import Workspace
from tests.browser.conftest import SCREENSHOTS, Open
from tests.end_to_end.conftest import command
from tests.pipeline.report.workspaces import HOSTILE, SOURCES, hostile, shortened

pytestmark = pytest.mark.browser

SIGN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
CONTRAST = """() => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (node) => { for (; node; node = node.parentElement) {
    const c = getComputedStyle(node).backgroundColor; if (!/, 0\\)$|transparent/.test(c)) return c; }
    return getComputedStyle(document.body).backgroundColor; };
  const worst = {};
  for (const node of document.querySelectorAll("main *, nav *")) {
    if (node instanceof SVGElement) continue;
    if (![...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim()) || !node.getClientRects().length) continue;
    const pair = [light(getComputedStyle(node).color), light(ground(node))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05), name = `${node.tagName}.${node.className}`;
    worst[name] = Math.min(worst[name] ?? 99, ratio);
  }
  return worst;
}"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return hostile(f"{tmp_path_factory.mktemp('browser')}/hostile")


@pytest.fixture
def page(workspace: Workspace, made: Callable[[Workspace], Path], open_page: Open) -> Any:
    return open_page(made(workspace))


def data(page: Any) -> dict[str, Any]:
    return json.loads(page.evaluate("document.getElementById('data').textContent"))


def test_every_chart_is_drawn_without_a_word_on_the_console_and_without_a_network(page: Any) -> None:
    charts = [
        chart for section in data(page)["sections"] for figure in section["figures"] for chart in figure["charts"]
    ]
    assert len(charts) > 8
    assert page.locator(".chart svg").count() == len(charts)
    empty = page.evaluate("""() => [...document.querySelectorAll('.chart')].filter((c) =>
        !c.querySelector('[class*=mark-] path[d]:not([d=""]), [class*=mark-] line, [class*=mark-] text')).length""")
    assert empty == 0
    assert page.complaints == []


def test_every_number_shown_is_the_answer_to_the_query_shown_beside_it(page: Any, workspace: Workspace) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.wait_for_timeout(200)
    seen = page.evaluate("""() => [...document.querySelectorAll('.figure')].map((figure) => ({
        sql: figure.querySelector('pre.sql:last-of-type').textContent,
        tiles: [...figure.querySelectorAll('.tile b')].map((b) => [b.dataset.name, b.title]),
        columns: [...figure.querySelectorAll('th')].map((th) => th.textContent),
        cells: [...figure.querySelectorAll('td.number')].map((td) => [td.cellIndex, td.parentElement.rowIndex - 1,
          td.title, td.textContent]) }))""")
    checked = 0
    for figure in seen:
        answer = query(workspace, figure["sql"]).to_pydict()
        for name, value in figure["tiles"]:
            assert float(value) == plain(answer[name][0]), name
            checked += 1
        for column, row, value, text in figure["cells"]:
            if value == "":
                continue
            name = figure["columns"][column]
            chosen = {plain(value) for value in answer[name] if value is not None}
            assert float(value) in chosen, (name, row, value)
            assert float(text.replace(",", "")) == pytest.approx(float(value), rel=1e-4), (name, text)
            checked += 1
    assert checked > 500


def test_text_that_means_harm_stays_text(page: Any) -> None:
    assert page.evaluate("window.harmed") is None
    assert page.locator("main img, main iframe, main b:not(.tile b), main i").count() == 0
    page.locator("button:has-text('more documents')").click()
    shown = {
        card.locator("strong").text_content(): card.locator("pre").text_content()
        for card in page.locator("#documents article.card").all()
    }
    for name, text in HOSTILE.items():
        wanted = SIGN.sub(lambda found: f"U+{ord(found[0]):04X}", shortened(text))
        held = next(value for key, value in shown.items() if key.startswith(name[:300]))
        # What the browser shows begins with the text: behind one that was cut it says so.
        assert held.startswith(wanted), name
        assert ("more characters" in held) == (len(text) > len(wanted)), name
    options = page.locator("select option").all_text_contents()
    assert set(SOURCES) <= set(options)
    assert page.complaints == []


def test_a_bar_leads_to_its_documents_and_to_a_query_for_all_of_them(page: Any, workspace: Workspace) -> None:
    page.locator("#scores select").first.scroll_into_view_if_needed()
    bar = page.locator("#scores .chart.reads svg .mark-rect path").first
    bar.scroll_into_view_if_needed()
    bar.click()
    status = page.locator("#documents [role=status]")
    status.wait_for()
    found = re.match(r"([\d,]+) of the ([\d,]+) documents", status.text_content())
    assert found is not None
    assert 0 < int(found[1]) < int(found[2])
    page.locator("summary:has-text('the query for all of them')").click()
    sql = page.locator("#documents pre.sql").first.text_content()
    assert query(workspace, sql).num_rows >= int(found[1])
    page.locator("#documents button:has-text('clear')").click()
    assert "of the" not in status.text_content()


def test_documents_are_found_by_words_source_selection_and_score(page: Any, workspace: Workspace) -> None:
    status = page.locator("#documents [role=status]")

    def count() -> int:
        return int(status.text_content().split()[0].replace(",", ""))

    everything = count()
    page.get_by_label("words in the text or id").fill("window.HARMED")
    assert count() == 2
    assert page.locator("#documents article.card mark").first.text_content() == "window.harmed"
    page.locator("#documents button:has-text('clear')").click()
    page.locator("#documents label:has-text('source') select").select_option(SOURCES[1])
    assert 0 < count() < everything
    page.locator("#documents label:has-text('selection') select").select_option("best: <where>")
    only = count()
    assert 0 < only < everything
    sql = page.locator("#documents pre.sql").first.text_content()
    assert query(workspace, sql).num_rows == only
    page.locator("#documents button:has-text('clear')").click()
    page.locator("#documents label:has-text('score') select").select_option("preselect_score")
    page.get_by_label("from", exact=True).fill("0.3")
    page.get_by_label("from", exact=True).press("Enter")
    assert 0 < count() < everything
    assert page.complaints == []


def test_a_choice_draws_another_column_and_its_numbers(page: Any) -> None:
    figure = page.locator("#scores .figure:has(select)").first
    choice, chart = figure.locator("select"), figure.locator(".chart svg")
    before = chart.inner_html()
    names = choice.locator("option").all_text_contents()
    choice.select_option(names[-1])
    for _ in range(100):  # no wait_for_function: the page's policy forbids what it evaluates
        if chart.inner_html() != before:
            break
        page.wait_for_timeout(100)
    assert chart.inner_html() != before
    figure.locator("summary:has-text('the numbers')").click()
    figure.locator(".numbers td").first.wait_for()
    assert set(figure.locator(".numbers td:first-child").all_text_contents()) == {names[-1]}


def test_everything_is_reached_by_keyboard(page: Any, workspace: Workspace) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        what = page.evaluate("(e => e.tagName + ':' + (e.textContent || '').slice(0, 20))(document.activeElement)")
        reached.add(what.split(":")[0])
        if what == "SUMMARY:the numbers":
            page.keyboard.press("Enter")
        if what.startswith("BUTTON:read") and "SELECT" in reached:
            break
    assert {"A", "BUTTON", "SUMMARY", "SELECT"} <= reached
    page.keyboard.press("Enter")
    assert "of the" in page.locator("#documents [role=status]").text_content()
    assert page.evaluate("document.activeElement.getAttribute('role')") == "status"
    page.locator("#theme").focus()
    before = page.evaluate("document.documentElement.dataset.theme")
    page.keyboard.press("Space")
    assert page.evaluate("document.documentElement.dataset.theme") != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(
    workspace: Workspace, made: Callable[[Workspace], Path], open_page: Open, scheme: str
) -> None:
    page = open_page(made(workspace), color_scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    worst = page.evaluate(CONTRAST)
    assert len(worst) > 15
    assert {name: ratio for name, ratio in worst.items() if ratio < 4.5} == {}  # WCAG 2.2, AA


def test_on_a_telephone_nothing_is_wider_than_the_screen(
    workspace: Workspace, made: Callable[[Workspace], Path], open_page: Open
) -> None:
    page = open_page(made(workspace))
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_demo_as_the_docs_show_it(made: Callable[[Workspace], Path], open_page: Open, tmp_path: Path) -> None:
    """Real text: the demo's run, whose pictures are the docs'."""
    demo = Path(__file__).parents[2] / "configs" / "demo" / "demo.yaml"
    arguments = command("run", demo, "-w", tmp_path / "demo-workspace", "--workers", 2)
    subprocess.run(arguments, capture_output=True, timeout=600, check=True)
    path = made(Workspace(str(tmp_path / "demo-workspace")))
    assert path.stat().st_size < 5e6
    folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page = open_page(path, color_scheme=scheme)
        page.screenshot(path=folder / f"report-{scheme}.png")
        for section in ("funnel", "relations") if scheme == "light" else ("scores",):
            page.locator(f"#{section}").screenshot(path=folder / f"report-{section}.png")
        if scheme == "light":
            page.locator("#funnel .chart.reads svg .mark-rect path").last.click()
            page.locator("#documents").scroll_into_view_if_needed()
            page.screenshot(path=folder / "report-documents.png")
        assert page.complaints == []
    assert len(list(folder.glob("report-*.png"))) >= 6

"""The tokens of a turn in a real browser: colours, values by pointer and by keys, and a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from learners.report import reading
from learners.report.page import page
from tests.learners.report.test_browser import HOSTILE, browser, show, tab
from tests.learners.report.test_tokens import line, run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
__all__ = ["browser", "tab"]
TEXTS = ["def ", "f", "(x):\n", "", "    return ", HOSTILE[0], "x", ""]
CHANCES = [-0.01, -0.5, -2.0, -3.0, -6.0, -0.2, 0.0, -0.1]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of four episodes: with tokens, with some in its folder alone, not trained on, and without any."""
    changes: dict[str, Any] = {
        "text": TEXTS, "logprob": CHANCES, "names": {"3": "Ġ", "7": HOSTILE[1]}, "update_logprob": CHANCES,
        "advantage": [0.0, 0.02, 0.2, 0.5, 1.0, -0.2, -0.5, -1.0], "marks": {"clip_fraction": [4]},
    }  # fmt: skip
    masked: dict[str, Any] = {
        "advantage": None,
        "update_logprob": None,
        "ratio": None,
        "importance": None,
        "marks": {},
    }
    folder = run(tmp_path_factory.mktemp("run"), line(0, 8, **changes), line(1, 8), line(2, **masked))
    path = folder / "report.html"
    path.write_text(page([reading.read(folder)], most_tokens=11), encoding="utf-8")
    return path.as_uri()


def open_tokens(tab: Page, address: str, episode: int) -> None:
    show(tab, f"{address}#/episode/0/{episode}", f"train-0-{episode}")
    tab.locator("summary", has_text="tokens: probability").click()
    tab.locator(".tokenview > *").first.wait_for()


def test_episodes_are_chosen_by_where_their_tokens_are(tab: Page, address: str) -> None:
    show(tab, f"{address}#/episodes", "Episodes")
    shown = tab.locator("main tbody tr")
    assert shown.count() == 4
    tab.get_by_label("tokens").select_option("in this page")
    tab.wait_for_function("document.querySelectorAll('main tbody tr').length < 4")
    assert [row.locator("a").first.inner_text() for row in shown.all()] == ["train-0-0", "train-0-2"]
    tab.get_by_label("tokens").select_option("in the run's folder")
    tab.wait_for_function("document.querySelectorAll('main tbody tr').length === 1")
    assert shown.locator("a").first.inner_text() == "train-0-1"


def test_an_action_is_shown_token_by_token(tab: Page, address: str) -> None:
    open_tokens(tab, address, 0)
    text = tab.locator(".tokenview pre.tokens")
    assert text.evaluate("node => node.textContent") == "".join(TEXTS)
    spans = text.locator(".token")
    assert spans.count() == len(TEXTS)
    likely = [span.get_attribute("class").split()[1] for span in spans.all()]
    assert likely == ["l0", "l1", "l2", "l3", "l4", "l1", "l0", "l0"]
    gains = [span.get_attribute("class").split()[2] for span in spans.all()]
    assert gains == ["a0", "a0", "ap1", "ap2", "ap3", "an1", "an2", "an3"]
    backs = "nodes => nodes.map(node => getComputedStyle(node).backgroundColor)"
    by_chance = spans.evaluate_all(backs)
    assert len(set(by_chance)) == 5
    tab.get_by_label("colour by").select_option("advantage")
    by_gain = spans.evaluate_all(backs)
    assert by_gain[0] == by_gain[1] == "rgba(0, 0, 0, 0)"
    assert len(set(by_gain)) == 7
    assert "clip_fraction" in tab.locator(".legend").inner_text()
    breaks = "nodes => nodes.map(node => node.nextSibling.textContent)"
    assert text.locator("i").evaluate_all(breaks) == ["\n"], "marked where it is"
    assert "broken" not in tab.title()
    assert tab.locator("main script, main img").count() == 0


def test_values_are_told_on_hover_by_keys_and_in_a_table(tab: Page, address: str) -> None:
    open_tokens(tab, address, 0)
    told, text = tab.locator(".told"), tab.locator("pre.tokens")
    text.locator(".token").nth(4).hover()
    assert '5 of 8, "    return " (id 4): probability 0.248 %' in told.inner_text()
    assert told.inner_text().endswith("advantage 1; clip_fraction")
    text.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        tab.keyboard.press(key)
    assert told.inner_text().startswith('2 of 8, "f" (id 1): probability 60.7 %')
    assert text.locator(".on").inner_text() == "f"
    tab.locator("summary", has_text="tokens as a table").click()
    rows = tab.get_by_role("group", name="Tokens in order").locator("tbody tr")
    rows.first.wait_for()
    assert rows.count() == 8
    assert json.dumps(HOSTILE[0]) in rows.nth(5).inner_text()
    assert rows.nth(4).locator("td").all_inner_texts()[1:] == [
        "4", "0.248 %", "-6.0000", "0.248 %", "–", "1", "1", "1", "clip_fraction",
    ]  # fmt: skip


def test_a_turn_that_was_not_trained_on_says_so(tab: Page, address: str) -> None:
    open_tokens(tab, address, 2)
    tab.get_by_label("colour by").select_option("advantage")
    assert "not trained on" in tab.locator(".legend").inner_text()


def test_an_episode_whose_tokens_are_not_here_says_where_they_are(tab: Page, address: str) -> None:
    open_tokens(tab, address, 1)
    said = tab.locator(".tokenview").inner_text()
    assert "holds the tokens of 2 of the 3 episodes" in said
    assert "--episode train-0-1" in said
    show(tab, f"{address}#/episode/0/3", "train-0-3")
    assert tab.locator("summary", has_text="tokens: probability").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("by", ["probability", "advantage"])
def test_tokens_have_no_fault_of_accessibility(browser: Browser, address: str, scheme: str, by: str) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=scheme, offline=True, bypass_csp=True)
    tab = context.new_page()
    open_tokens(tab, address, 0)
    tab.get_by_label("colour by").select_option(by)
    tab.locator("summary", has_text="tokens as a table").click()
    tab.get_by_role("group", name="Tokens in order").wait_for()
    faults = axe.run(tab)["violations"]
    context.close()
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in faults] == []


def test_on_a_phone_tokens_are_no_wider_than_the_screen(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, offline=True)
    tab = context.new_page()
    for episode in (0, 1):
        open_tokens(tab, address, episode)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_a_long_action_has_its_first_tokens_in_the_table_and_all_on_request(
    tab: Page, tmp_path: Path
) -> None:
    folder = run(tmp_path, line(0, 1200))
    (folder / "page.html").write_text(page([reading.read(folder)]), encoding="utf-8")
    open_tokens(tab, (folder / "page.html").as_uri(), 0)
    tab.locator("summary", has_text="tokens as a table").click()
    rows = tab.get_by_role("group", name="Tokens in order").locator("tbody tr")
    rows.first.wait_for()
    assert rows.count() == 500
    tab.get_by_role("button", name="Show all 1200").click()
    assert rows.count() == 1200

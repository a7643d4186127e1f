"""The page in a real browser, from disk and without a network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scipy.stats import sem, t  # type: ignore[import-untyped]

from benchmarks.corpus.cases import path_of
from coaches import episodes
from coaches.attacks.texts import ATTACKS
from learners.report import reading
from learners.report.page import page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

CORPUS = path_of("public")
MISSING = "dsbench-airport_altitude-0-never_saved-0"
HOSTILE = (
    "</script><script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title = 'broken'\">",
    "]]><svg onload=\"document.title = 'broken'\">",
    "</pre></main></body><style>body { display: none }</style>",
    "javascript:document.title='broken'",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [row for row, _ in episodes.read(CORPUS)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> str:
    """The address of a page about two runs: the corpus, and the same with another coach's scores."""
    folder = tmp_path_factory.mktemp("runs")
    for name, score in (("first", 4.0), ("second", 9.0)):
        (folder / name).mkdir()
        verdict = {"verdict": {"score": score, "rationale": f"said by {name}"}}
        judged = [row | {"turns": [turn | verdict for turn in row["turns"]]} for row in rows]
        lines = "".join(json.dumps(row) + "\n" for row in judged)
        (folder / name / "episodes.jsonl").write_text(lines, encoding="utf-8")
        (folder / name / "config.yaml").write_text(
            f"seed: {score}\nenv: {{name: dsbench}}\n", encoding="utf-8"
        )
        revision = {"version": "9.8", "commit": "abcdef012345" + 28 * "0", "dirty": True}
        later = {"after_step": 2, "coachgym": revision | {"version": "9.9", "dirty": False}, "python": "3"}
        team = {"maker": {"model": "tiny"}, "analyst": {"model": "<b>hosted"}}
        metadata = {"coachgym": revision, "algorithm": "grpo", "team": team, "resumed": [later]}
        (folder / name / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
        metrics = [
            {"phase": "eval", "step": n, "success": n / 4, "fair": score / 10, "episodes": 64.0}
            for n in (0, 2)
        ]
        (folder / name / "metrics.jsonl").write_text(
            "".join(json.dumps(one) + "\n" for one in metrics), "utf-8"
        )
    path = folder / "report.html"
    path.write_text(page([reading.read(folder / name) for name in ("first", "second")]), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A page without a network, which fails on errors of scripts."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    opened, errors = context.new_page(), list[str]()
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield opened
    context.close()
    assert errors == []


def show(tab: Page, address: str, heading: str) -> None:
    tab.goto(address)
    tab.get_by_role("heading", name=heading, level=2).wait_for()


def episode(rows: list[dict[str, Any]], name: str) -> int:
    return next(place for place, row in enumerate(rows) if row["id"] == name)


def test_the_set_up_names_the_version_the_algorithm_and_who_played(tab: Page, report: str) -> None:
    show(tab, f"{report}#/overview", "Overview")
    shown = tab.locator("dl.facts", has_text="algorithm").first.inner_text()
    for fact in (
        "grpo",
        "maker: tiny, analyst: <b>hosted",
        "9.8, commit abcdef012345, with uncommitted changes",
        "after step 2: 9.9, commit abcdef012345, other python",
    ):
        assert fact in shown


def test_a_missing_file_shows_the_blamed_turn_and_the_broken_edge(
    tab: Page, report: str, rows: list[dict[str, Any]]
) -> None:
    show(tab, f"{report}#/episode/0/{episode(rows, MISSING)}", MISSING)
    guilty = tab.locator(".turn.culprit")
    assert guilty.count() == 1
    assert "data_engineer" in guilty.locator("h3").inner_text()
    edges = tab.locator(".lanes [data-broken=true]")
    assert "X_test.pkl missing" in [edge.get_attribute("data-edge") for edge in edges.all()]
    tab.keyboard.press("c")
    tab.wait_for_function("document.querySelector('.turn.culprit.current') === document.activeElement")
    assert tab.url.endswith("?turn=1")


OVERLAPS = """() => {
  const texts = [...document.querySelectorAll('.lanes svg text')];
  const boxes = texts.map((one) => [one.textContent, one.getBoundingClientRect()]);
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  const over = (box, n) => boxes.slice(n + 1).filter(([, other]) => !apart(box, other));
  return boxes.flatMap(([name, box], n) => over(box, n).map(([other]) => `${name} / ${other}`));
}"""
"""Texts of the graph that cover one another."""


def test_no_text_of_the_graph_covers_another_one(tab: Page, tmp_path: Path) -> None:
    roles = {
        "maker": [],
        "modeler": ["X_train.pkl", "y_train.pkl", "a_rather_long_name_of_an_artifact.parquet"],
    }
    roles["analyst"] = ["X_test.pkl", "model.pkl", "y_train.pkl"]
    described = [
        {"name": name, "requires": [{"name": one} for one in requires]} for name, requires in roles.items()
    ]
    turns = [
        {
            "agent": agent,
            "action": "x",
            "checks": [
                {"name": one, "code": code, "detail": "", "facts": {}}
                for one, code in zip(roles[agent], ("missing", "unreadable", "ok"), strict=False)
            ],
            "verdict": {"score": 0, "rationale": "r"},
        }
        for agent in ("maker", "maker", "modeler", "modeler", "analyst")
    ]
    path = tmp_path / "episodes.jsonl"
    row = {"id": "two broken", "task": "t", "roles": described, "turns": turns, "outcome": {"success": False}}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "page.html").write_text(page([reading.read(path)]), encoding="utf-8")
    show(tab, f"{(tmp_path / 'page.html').as_uri()}#/episode/0/0", "two broken")
    edges = [edge.get_attribute("data-edge") for edge in tab.locator(".lanes [data-broken=true]").all()]
    assert len(edges) >= 2
    assert tab.evaluate(OVERLAPS) == []


def test_no_text_of_the_graph_covers_another_one_in_recorded_episodes(
    tab: Page, report: str, rows: list[dict[str, Any]]
) -> None:
    failed = [place for place, row in enumerate(rows) if not row["outcome"]["success"]]
    for place in failed[:20]:
        show(tab, f"{report}#/episode/0/{place}", rows[place]["id"])
        assert tab.evaluate(OVERLAPS) == [], rows[place]["id"]


def test_the_mark_of_a_turn_tells_its_score(tab: Page, report: str, rows: list[dict[str, Any]]) -> None:
    place = episode(rows, MISSING)
    for run, said, color in ((0, "4.0 of 10", "var(--bad)"), (1, "9.0 of 10", "var(--good)")):
        show(tab, f"{report}#/episode/{run}/{place}", MISSING)
        tab.locator(".lanes a", has_text=said).first.wait_for()
        marks = tab.locator(".lanes circle")
        assert {mark.get_attribute("stroke") for mark in marks.all()} == {color}


def test_times_that_nobody_recorded_are_unknown(tab: Page, tmp_path: Path) -> None:
    results = (
        {"exit_code": 1},
        {"status": "ok", "wall_s": 1.5},
        {"status": "ok", "wall_s": 1.5, "cpu_s": 0.25},
    )
    turns = [{"agent": "a", "action": "x", "result": result} for result in results]
    path = tmp_path / "episodes.jsonl"
    path.write_text(json.dumps({"id": "timeless", "task": "t", "turns": turns}) + "\n", encoding="utf-8")
    (tmp_path / "page.html").write_text(page([reading.read(path)]), encoding="utf-8")
    show(tab, f"{(tmp_path / 'page.html').as_uri()}#/episode/0/0", "timeless")
    assert [said for said in tab.locator(".turn h4").all_inner_texts() if said.startswith("Output")] == [
        "Output: error, exit code 1, time unknown",
        "Output: ok, 1.50 s",
        "Output: ok, 1.50 s, 0.25 s of CPU",
    ]


def test_filters_and_sorting_are_in_the_address(tab: Page, report: str) -> None:
    show(tab, f"{report}#/episodes", "Episodes")
    tab.get_by_label("culprit").select_option("data_engineer")
    tab.get_by_label("run").select_option("0")
    tab.wait_for_url("**culprit=data_engineer*")
    body = tab.locator("tbody tr")
    assert all("data_engineer" in text for text in body.all_inner_texts())
    tab.get_by_role("button", name="task").click()
    tab.wait_for_url("**sort=task*")
    tasks = tab.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert tasks == sorted(tasks)
    again = tab.context.new_page()
    again.goto(tab.url)
    again.locator("tbody tr").first.wait_for()
    assert again.locator("tbody tr").all_inner_texts() == body.all_inner_texts()


def test_text_is_found_in_any_turn(tab: Page, report: str, rows: list[dict[str, Any]]) -> None:
    show(tab, f"{report}#/episodes?run=0&text=get_dummies", "Episodes")
    tab.locator("tbody tr").first.wait_for()
    expected = [row["id"] for row in rows if any("get_dummies" in json.dumps(turn) for turn in row["turns"])]
    assert tab.locator("tbody th").all_inner_texts() == expected[:50]


def test_keys_go_to_the_next_failed_episode_and_the_next_turn(
    tab: Page, report: str, rows: list[dict[str, Any]]
) -> None:
    failed = [place for place, row in enumerate(rows) if not row["outcome"]["success"]]
    show(tab, f"{report}#/episode/0/{failed[0]}", rows[failed[0]]["id"])
    tab.keyboard.press("n")
    tab.wait_for_url(f"**#/episode/0/{failed[1]}")
    tab.get_by_role("heading", name=rows[failed[1]]["id"], level=2).wait_for()
    tab.keyboard.press("j")
    tab.wait_for_url("**turn=0")
    tab.keyboard.press("j")
    tab.wait_for_url("**turn=1")
    tab.keyboard.press("p")
    tab.wait_for_url(f"**#/episode/0/{failed[0]}")
    tab.keyboard.press("?")
    assert tab.get_by_role("dialog").is_visible()


def test_two_runs_are_compared_on_the_same_episodes(
    tab: Page, report: str, rows: list[dict[str, Any]]
) -> None:
    show(tab, f"{report}#/compare?a=0&b=1&id={rows[0]['id']}", "Compare")
    shown = tab.locator("main").inner_text()
    assert "5.000" in shown  # the coach's scores differ by this much, and nothing else does
    tab.get_by_text("said by second").first.wait_for()
    show(tab, f"{report}#/overview", "Overview")
    settings = tab.get_by_role("group", name="Settings that differ")
    assert "seed" in settings.inner_text()


def test_runs_that_differ_in_their_seed_are_one_curve_with_a_band_over_seeds(tab: Page, report: str) -> None:
    tab.goto(f"{report}#/overview")
    figure = tab.locator("figure", has_text="Held-out fair score")
    assert figure.locator("polyline").count() == 1
    figure.locator("summary").click()
    low, high = t.interval(0.95, 1, loc=0.65, scale=sem([0.4, 0.9]))
    figure.locator("td", has_text=f"0.65 [{low:.3g}, {high:.3g}]").first.wait_for()


def test_handoffs_lead_to_the_episodes_behind_a_number(tab: Page, report: str) -> None:
    show(tab, f"{report}#/handoffs?run=0", "Handoffs")
    cell = tab.locator("table.heat td a").first
    count = int(cell.locator("b").inner_text())
    cell.click()
    tab.get_by_role("heading", name="Episodes", level=2).wait_for()
    assert tab.locator("tbody tr").count() == count


def test_hostile_text_stays_text(tab: Page, tmp_path: Path) -> None:
    texts = [*HOSTILE, *(attack.text for attack in ATTACKS)]
    turns = [{"agent": f"a{text}", "action": text, "observation": text, "code": text,
              "result": {"status": "error", "stdout": text, "stderr": text},
              "files": [{"path": text, "size": 1, "sha256": text}],
              "verdict": {"score": 1, "rationale": text, "blame": text}} for text in texts]  # fmt: skip
    path = tmp_path / "episodes.jsonl"
    row = {"id": HOSTILE[0], "task": HOSTILE[1], "kind": HOSTILE[2], "turns": turns,
           "outcome": {"success": False, "failure_code": HOSTILE[3]}}  # fmt: skip
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "page.html").write_text(page([reading.read(path)]), encoding="utf-8")
    address = (tmp_path / "page.html").as_uri()
    for view, heading in (
        ("overview", "Overview"),
        ("handoffs", "Handoffs"),
        ("episodes", "Episodes"),
        ("episode/0/0", "</script>"),
    ):
        show(tab, f"{address}#/{view}", heading)
        assert "broken" not in tab.title()
        assert tab.locator("main script, main img, main style, main iframe, main [onload]").count() == 0
        assert tab.locator("main").is_visible()
    assert tab.locator(".turn pre").first.inner_text() in texts


@pytest.mark.parametrize(
    ("view", "scheme"),
    [
        ("overview", "light"),
        ("overview", "dark"),
        ("handoffs", "light"),
        ("episodes", "light"),
        ("compare?a=0&b=1", "light"),
        ("episode/0/3", "light"),
        ("episode/0/3", "dark"),
    ],
)
def test_no_view_has_a_fault_of_accessibility(browser: Browser, report: str, view: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=scheme, offline=True, bypass_csp=True)
    tab = context.new_page()
    tab.goto(f"{report}#/{view}")
    tab.locator("main h2").first.wait_for()
    faults = axe.run(tab)["violations"]
    context.close()
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in faults] == []


def test_on_a_phone_no_view_is_wider_than_the_screen(browser: Browser, report: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, offline=True)
    tab = context.new_page()
    for view in ("overview", "handoffs", "episodes", "compare?a=0&b=1", "episode/0/3"):
        tab.goto(f"{report}#/{view}")
        tab.locator("main h2").first.wait_for()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    context.close()

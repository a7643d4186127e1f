"""README and docs/ tell the truth: commands parse, settings, paths, names and links exist, examples run.

Every ``python`` and ``yaml`` block opens with the name of its file in ``docs/examples`` and equals that file.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import conf
from benchmarks.common.coaches import nodes
from conf import commands
from conf.commands import with_default
from learners.config import RunConfig
from learners.plan import arguments as plan_arguments
from learners.plan import run_config
from tests.test_conf import GROUPS

ROOT = conf.ROOT.parent
EXAMPLES = ROOT / "docs" / "examples"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = ("sandbox", "envs", "coaches", "learners", "benchmarks", "conf", "tests")
SECTIONS = ("rollout", "evaluation", "checkpoint", "record", "trace", "wandb")
MEMBERS = ("env.turns", "env.step", "env.outcome", "env.rewards[agent]", "sandbox.read")
"""Members of objects that the pages call ``env`` and ``sandbox``, which are groups of settings too."""
NOT_OURS = ("llama_cpp.server", "venv")
"""Modules of ``python -m`` that other packages provide."""


def ids(value: Any) -> str:
    return value.name if isinstance(value, Path) else str(value)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in ``language``."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def spans(page: Path) -> list[str]:
    """The code spans of a page; in tables a pipe is written ``\\|``."""
    return [span.replace("\\|", "|") for _, span in re.findall(r"(`+)(.+?)\1", prose(page), flags=re.DOTALL)]


def lines(page: Path) -> Iterator[list[str]]:
    """The commands of a page as words, without comments: ``sh`` blocks, ``python -m`` and ``pip`` spans."""
    written = [line for block in blocks(page, "sh") for line in block.splitlines()]
    inline = [
        " ".join(span.split()) for span in spans(page) if re.match(r"python -m [\w.]+(\s|$)|pip ", span)
    ]
    for line in [*written, *inline]:
        if words := shlex.split(line, comments=True):
            yield words


COMMANDS = sorted(
    {
        " ".join(map(shlex.quote, words[2:]))
        for page in PAGES
        for words in lines(page)
        if words[:2] == ["python", "-m"]
    }
)


def is_hydra(command: str) -> bool:
    """Whether the command's configuration is composed by Hydra and not parsed by ``argparse``."""
    module = command.split()[0]
    return module.startswith("learners.") and module not in ("learners.export", "learners.models.tiny_policy")


@pytest.mark.parametrize("command", [c for c in COMMANDS if is_hydra(c)])
def test_the_configuration_of_a_training_command_composes(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, *words = shlex.split(command)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    config = composed(module, words)
    run = run_config(config) if module == "learners.plan" else RunConfig.read(config)
    for group in GROUPS:
        fits(group, getattr(run, group))


def fits(group: str, node: DictConfig) -> None:
    """Raises ``ConfigError`` where the part's settings are not those of its ``Config``."""
    part = conf.plugin_class(GROUPS[group], node.name)
    conf.typed(part.Config, {str(key): node[key] for key in node if key != "name"})


def composed(module: str, words: list[str]) -> DictConfig:
    """What the command would get; of a ``--multirun``, the first of its runs."""
    if "--multirun" in words:
        words = [word.split(",")[0] for word in words if word != "--multirun"]
    folder = None
    if "--config-dir" in words:
        place = words.index("--config-dir")
        folder = EXAMPLES / words[place + 1]
        words = [*words[:place], *words[place + 2 :]]
    if module == "learners.plan":
        words = plan_arguments(words)
    elif module != "learners.train":
        words = with_default(words, "algorithm", module.removeprefix("learners."))
    return commands.compose(words, config_dir=folder)


class ParsedError(Exception):
    """Raised in place of running a command whose arguments have been parsed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(str(arguments))
        self.arguments = arguments


@pytest.mark.parametrize("command", [c for c in COMMANDS if not is_hydra(c) and not c.startswith(NOT_OURS)])
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_the_arguments_and_settings_of_any_other_command_are_valid(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, *words = shlex.split(command)
    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, parsed_only(name))
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(ParsedError) as parsed:
        runpy.run_module(module, run_name="__main__")
    given = vars(parsed.value.arguments)
    overrides = [word for word in given.get("overrides", []) if commands.is_override(word)]
    folder = EXAMPLES / given["config_dir"] if given.get("config_dir") else None
    if module in ("benchmarks.attribution", "benchmarks.coaches"):
        words = [word for word in overrides if not word.startswith("who_and_when=")]
        nodes(words, config_dir=folder)
    elif module in ("benchmarks.evaluate", "benchmarks.learning", "benchmarks.mismatch"):
        commands.compose([word for word in overrides if not word.startswith("run=")], config_dir=folder)
    else:
        parts: dict[str, str | None] = dict.fromkeys(GROUPS)
        overrides = [word for word in overrides if not word.startswith("format=")]
        for group, node in commands.compose_parts(overrides, parts, config_dir=folder).items():
            fits(str(group), node)


def parsed_only(name: str) -> Any:
    parse = getattr(argparse.ArgumentParser, name)

    def replacement(*args: Any, **kwargs: Any) -> None:
        raise ParsedError(parse(*args, **kwargs))

    return replacement


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_the_other_commands_of_a_page_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    extras = (ROOT / "setup.cfg").read_text(encoding="utf-8").partition("[options.extras_require]")[2]
    for words in lines(page):
        program, *rest = [word for word in words if not re.match(r"[A-Z_]+=", word)]
        if program == "make":
            targets = [word for word in rest if "=" not in word]
            assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets), words
        elif program == "pip":
            named = re.findall(r"\[([\w,-]+)\]", " ".join(rest))
            for extra in ",".join(named).split(",") if named else []:
                assert re.search(rf"^{extra} *=", extras, flags=re.MULTILINE), words
        elif program in ("python", "bash") and rest[0] != "-m":
            assert (ROOT / rest[0]).exists() or (EXAMPLES / rest[0]).exists(), words
        else:
            assert program in ("python", "cd", "git", ".venv/bin/pre-commit", "docker", "ssh", "export"), (
                words
            )


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_program_and_setting_file_of_a_page_is_a_file_of_the_examples(page: Path) -> None:
    for block in [*blocks(page, "python"), *blocks(page, "yaml")]:
        named = re.match(r"# ([\w/]+\.(?:py|yaml))\n", block)
        assert named, block
        assert block == (EXAMPLES / named[1]).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_and_their_anchors_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The ids that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_file_map_of_the_readme_is_true() -> None:
    tree = (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .partition("## File map\n\n```\n")[2]
        .partition("```")[0]
    )
    for line in tree.splitlines():
        folder, *words = line.split()
        for word in words:
            if re.fullmatch(r"[\w/]+(\.py|\.md|\.yaml|/)", word):
                assert (ROOT / folder / word).exists(), line
    assert len(tree.splitlines()) > 6


def test_the_architecture_page_describes_every_folder_of_modules() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {
        f"{path.parent.relative_to(ROOT)}/"
        for package in PACKAGES[:-1]
        for path in (ROOT / package).rglob("*.py")
    }
    assert {folder for folder in folders if f"`{folder}`" not in page} == set()


def test_the_coach_benchmark_page_shows_the_committed_results() -> None:
    page = (ROOT / "docs" / "coach-benchmark.md").read_text(encoding="utf-8").splitlines()
    path = ROOT / "benchmarks" / "results" / "coaches-heldout.json"
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        shown = {"": row} | {f", edition {number}": found for number, found in row["by_edition"].items()}
        for which, found in shown.items():
            [line] = [line for line in page if line.startswith(f"| `{row['coach']}`{which} |")]
            for measure in ("found_agent", "found_turn", "false_blame", "resisted"):
                if measure in found:
                    value, low, high = (100.0 * found[measure][key] for key in ("value", "low", "high"))
                    assert f"| {value:.0f} [{low:.0f}, {high:.0f}] |" in line, (measure, line)
            assert f"| {found['margin']['value']:.1f}".replace("-0.0", "0.0") in line, line


def test_the_coach_benchmark_page_shows_the_committed_results_on_who_and_when() -> None:
    page = (ROOT / "docs" / "coach-benchmark.md").read_text(encoding="utf-8").splitlines()
    path = ROOT / "benchmarks" / "results" / "attribution-half.json"
    parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
    for rows in zip(*parts.values(), strict=True):
        name = rows[0]["name"].split(" (")[0]
        cells = [
            f"{100 * one['value']:.1f} [{100 * one['low']:.0f}, {100 * one['high']:.0f}]"
            for row in rows
            for one in (row["agent"], row["step"], row["top"])
        ]
        line = f"{name} | {' | '.join(cells)} |"
        assert any(line in shown.replace("`", "").replace("| coach=", "| ") for shown in page), line


def test_the_papers_page_shows_the_committed_results_of_ours() -> None:
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    path = ROOT / "benchmarks" / "results" / "evaluate.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    [difference] = results["differences"]
    value, low, high = (difference["success"][key] for key in ("value", "low", "high"))
    assert f"rises by {value:.3f} [{low:.2f}, {high:.2f}]".replace("0.", ".") in page
    sides = [[one for one in results["evaluations"] if (one["step"] > 0) is after] for after in (False, True)]
    for label, name in (
        ("success, %", "success"),
        ("success of classification, %", "success/classification"),
        ("success of regression, %", "success/regression"),
        ("fair score over all metrics", "fair"),
        ("its part of classification", "fair/classification"),
        ("its part of regression", "fair/regression"),
    ):
        means = [sum(run["metrics"][name] for run in side) / len(side) for side in sides]
        cells = [f"{100 * mean:.1f}" if "%" in label else f"{mean:.3f}"[1:] for mean in means]
        [line] = [line for line in page.splitlines() if line.startswith(f"| {label} |")]
        assert line.endswith(f"| {cells[0]} | {cells[1]} |"), (line, cells)


def test_the_report_page_shows_the_committed_results_of_fine_tuning() -> None:
    page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    path = ROOT / "benchmarks" / "results" / "finetune.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    runs = results["evaluations"]
    for name in ("success", *(f"delivered/{agent}" for agent in ("data_engineer", "modeler", "analyst"))):
        [line] = [
            line for line in page.splitlines() if line.startswith(f"| {name.partition('/')[2] or name} |")
        ]
        cells = [f"{run['metrics'][name]:.3f}" for run in (*runs[: len(runs) // 2], *runs[len(runs) // 2 :])]
        assert line.split(" | ")[1:] == [*cells[:-1], f"{cells[-1]} |"], (line, cells)
    [difference] = results["differences"]
    value, low, high = (difference["success"][key] for key in ("value", "low", "high"))
    assert f"success {value:+.3f} [{low:+.2f}, {high:+.2f}]" in page
    pairs = difference["pairs"]
    assert f"gains {pairs['gained']} of {pairs['pairs']} episodes and loses {pairs['lost']}" in page


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_paths_names_and_settings_in_code_spans_exist(page: Path) -> None:
    assert [span for span in spans(page) if not known(span)] == []


def known(span: str) -> bool:
    """Whether what a code span names is there; spans that name nothing of ours pass."""
    first = re.split(r"[./=]", span)[0]
    if re.fullmatch(r"[\w/.-]+\.py:[\w.]+", span):
        path, _, name = span.partition(":")
        return (ROOT / path).is_file() and defines(ROOT / path, name.split("."))
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", span) and "/" in span and first in (*PACKAGES, "docs", ".ci"):
        return (ROOT / span).exists()
    if "<" in span or "…" in span or re.fullmatch(r"[\w.-]+\.(jsonl?|yaml|png|csv|txt|pkl)", span):
        return True
    key, _, value = span.partition("=")
    if (
        re.fullmatch(r"\w+(\.\w+)+", key)
        and key != "evaluation.json"
        and first in (*GROUPS, *SECTIONS, *PACKAGES)
    ):
        if value and first in GROUPS:
            return all(accepts(first, key.split(".")[1:], each) for each in value.split("|"))
        return is_setting(key) or (not value and (is_name(key) or key in MEMBERS))
    if key in GROUPS and re.fullmatch(r"[\w.|-]+", value):
        return all(is_part(key, name) for name in value.split("|"))
    return True


def is_part(group: str, name: str) -> bool:
    return (conf.ROOT / group / f"{name}.yaml").exists() or (
        EXAMPLES / "my_conf" / group / f"{name}.yaml"
    ).exists()


@cache
def values() -> dict[str, list[Any]]:
    """Section or group -> every mapping of values that there is for it."""
    whole = OmegaConf.to_container(OmegaConf.load(conf.ROOT / "config.yaml"))
    assert isinstance(whole, dict)
    found: dict[str, list[Any]] = {section: [whole[section]] for section in SECTIONS}
    for group in GROUPS:
        own = [OmegaConf.load(file) for file in (EXAMPLES / "my_conf" / group).glob("*.yaml")]
        found[group] = [
            OmegaConf.to_container(node) for node in [*(conf.load(group, n) for n in conf.names(group)), *own]
        ]
    return found


def is_setting(key: str) -> bool:
    first, *rest = key.split(".")
    return any(reaches(one, rest) for one in values().get(first, []))


def accepts(group: str, keys: list[str], value: str) -> bool:
    """Whether a part of the group takes ``value`` for the setting."""
    for part in values()[group]:
        if reaches(part, keys):
            node = OmegaConf.create(part)
            OmegaConf.update(
                node,
                ".".join(keys),
                commands.parse([f"v={value}"])[0].value(),
                force_add=True,
            )
            with suppress(conf.ConfigError):
                fits(group, node)
                return True
    return False


def reaches(node: Any, keys: list[str]) -> bool:
    """Whether ``keys`` lead to a value of ``node``; a part within a part (and null) may have any settings."""
    for place, key in enumerate(keys):
        if place and (node is None or (isinstance(node, dict) and "name" in node)):
            return True
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def is_name(dotted: str) -> bool:
    """Whether a module, or what it defines, has this dotted name."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:count])
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return count == len(parts) or defines(file, parts[count:])
    return base.is_dir()


def defines(path: Path, names: list[str]) -> bool:
    """Whether a file defines ``names``: the first at its top, each of the others within the one before."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for name in names:
        node = next((node for node in body if name in defined(node)), None)
        if node is None:
            return False
        body = getattr(node, "body", [])
    return True


def defined(node: ast.stmt) -> set[str]:
    """The names that a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    return {target.id for target in targets if isinstance(target, ast.Name)}

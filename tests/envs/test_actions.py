from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest

from envs.actions import python_text
from envs.actions.parsing import Form, extract_program, read_action, strip_thinking
from envs.contract import timeless
from envs.pipeline import PipelineEnv
from tests.fakes import FakeBackend, FakeScenario

F = "```"
DOCSTRING = f'def f():\n    """Use it:\n\n    {F}python\n    f()\n    {F}\n    """\n    return 1\nprint(f())'
TAGGED = """<tool_call>
<function=%s>
<parameter=%s>
%s
</parameter>
</function>
</tool_call>
"""
CALL = '<tool_call>{"name": "%s", "arguments": {"code": "print(1)"}}</tool_call>'

READ: list[tuple[str, str | None, Form]] = [
    # tags of thinking are text inside a block
    (f"{F}python\nprint('</think>')\nx = 1\n{F}", "print('</think>')\nx = 1", "fenced"),
    (f"{F}python\nprint('<think>')\nx = 1\n{F}", "print('<think>')\nx = 1", "fenced"),
    (f'{F}python\n"""\n<think>\n</think>\n"""\nx = 1\n{F}', '"""\n<think>\n</think>\n"""\nx = 1', "fenced"),
    (f"{F}python\n# no <think> here\nx = 1\n{F}", "# no <think> here\nx = 1", "fenced"),
    (f"<think>plan</think>\n{F}python\nprint('</think>')\n{F}", "print('</think>')", "fenced"),
    (f"plan</think>\n{F}python\nprint('</think>')\n{F}", "print('</think>')", "fenced"),
    ("~~~python\nprint('</think>')\n~~~", "print('</think>')", "fenced"),
    # drafts in a thought that have no end
    (f"<think>{F}python\ndraft\n</think>\n{F}python\nx = 1\n{F}", "x = 1", "fenced"),
    (f"<think>{F}\ndraft\n</think>\n{F}python\nx = 1\n{F}", "x = 1", "fenced"),
    (f"{F}python\ndraft\nso it's final.</think>\n{F}python\nx = 1\n{F}", "x = 1", "fenced"),
    # fences inside a program
    (f"{F}python\n{DOCSTRING}\n{F}\nDone.", DOCSTRING, "inner_fence"),
    (f"{F}python\n{DOCSTRING}\n{F}\nand\n{F}python\nx = 1\n{F}", f"{DOCSTRING}\nx = 1", "inner_fence"),
    (f"{F}\n{F}python\nx = 1\n{F}\n{F}", "x = 1", "inner_fence"),
    (f"{F}python\ns = '''oops\n{F}\nthen\n{F}python\nx = 1\n{F}", "s = '''oops\nx = 1", "fenced"),
    # other ways to open a block
    (f"Sure: {F}python\nx = 1\n{F}", "x = 1", "after_text"),
    (f"Sure:{F}py\nx = 1\n{F}\nThat is all.", "x = 1", "after_text"),
    (f"{F}python x = 1{F}", "x = 1", "after_text"),
    (f"{F}\nprint(1)\n{F}", "print(1)", "untagged"),
    (f"It is:\n{F}\nimport os\nx = 1\n{F}\n{F}\nprint(x)\n{F}", "import os\nx = 1\nprint(x)", "untagged"),
    (f"{F}ipython\nx = 1\n{F}", "x = 1", "fenced"),
    (f"{F}Python3\nx = 1\n{F}", "x = 1", "fenced"),
    (f"{F}PYTHON\nx = 1\n{F}", "x = 1", "fenced"),
    (f"{F}py\nx = 1\n{F}", "x = 1", "fenced"),
    (f"{F}{{.python}}\nx = 1\n{F}", "x = 1", "fenced"),
    (f"~~~py\nx = '''\n{F}\n'''\n~~~", f"x = '''\n{F}\n'''", "fenced"),
    (f"{F}python\nx = 1{F}", "x = 1", "unclosed"),
    (f"{F}python\nx = 1", "x = 1", "unclosed"),
    # blocks in lists and quotations, and text where a fence ends
    (
        f"1. {F}python\n   x = 1\n   if x:\n       y = 2\n   {F}\n2. then",
        "x = 1\nif x:\n    y = 2",
        "after_text",
    ),
    (f"- {F}python\n  x = 1\n  {F}", "x = 1", "after_text"),
    (f"> Here:\n> {F}python\n> if 1:\n>     x = 1\n> {F}\nDone.", "if 1:\n    x = 1", "fenced"),
    (f">{F}python\n>x = 1\n>{F}", "x = 1", "fenced"),
    (f"{F}python\n    x = 1\n    y = 2\n{F}", "x = 1\ny = 2", "fenced"),
    (f"{F}python\nx = 1\n{F} done", "x = 1", "fenced"),
    (f"{F}python\nx = 1\n{F}<|im_end|>", "x = 1", "fenced"),
    (f"Sure: {F}python\nx = 1\n{F} That is it.", "x = 1", "after_text"),
    (f"{F}python\n{F}python\nx = 1\n{F}", "x = 1", "fenced"),
    (f"{F}python\nx = 1\n{F}python\ny = 2\n{F}", "x = 1\ny = 2", "fenced"),
    (f"{F}{F[:1]}markdown\nI run:\n\n{F}python\nx = 1\n{F}\n{F}{F[:1]}", None, "unreadable"),
    (f"{F}{F[:1]}markdown\n{F}python\nx = 1\n{F}\n{F}{F[:1]}", "x = 1", "inner_fence"),
    ("<thinking>plan</thinking>\n" + f"{F}python\nx = 1\n{F}", "x = 1", "fenced"),
    ("<THINK>plan</THINK>\n" + f"{F}python\nx = 1\n{F}", "x = 1", "fenced"),
    # calls of a tool
    ('<tool_call>[{"name": "python", "arguments": {"code": "x = 1"}}]</tool_call>', "x = 1", "tool_call"),
    (
        '<tool_call>{"function": {"name": "python", "arguments": {"code": "x = 1"}}}</tool_call>',
        "x = 1",
        "tool_call",
    ),
    (CALL % "python", "print(1)", "tool_call"),
    (TAGGED % ("python", "code", "x = 1\nprint(x < 2)"), "x = 1\nprint(x < 2)", "tool_call"),
    (
        TAGGED % ("python", "code", "x = 1") + TAGGED % ("run", "program", "y = 2"),
        "x = 1\ny = 2",
        "tool_call",
    ),
    (TAGGED % ("search", "query", "x"), None, "unreadable"),
    ((TAGGED % ("python", "code", "x = 1"))[:60], None, "unreadable"),
    (
        "<tool_call><function=python><parameter=a>1</parameter><parameter=b>2</parameter></function>",
        None,
        "unreadable",
    ),
    (CALL % "code_interpreter", "print(1)", "tool_call"),
    ((CALL % "python").removesuffix("</tool_call>"), "print(1)", "tool_call"),
    (f"{F}python\nx = 1\n{F}\n{CALL % 'python'}", "x = 1", "fenced"),
    (
        '<tool_call>{"name": "python", "arguments": "{\\"code\\": \\"x = 1\\"}"}</tool_call>',
        "x = 1",
        "tool_call",
    ),
    ('<tool_call>\n{"name": "python", "arguments": {"code": "x = 1\ny = 2"}}', "x = 1\ny = 2", "tool_call"),
    # no program, and nothing wrong
    ("All done.", None, "prose"),
    ("", None, "prose"),
    (f"It printed:\n{F}\n42\n{F}\nDone.", None, "prose"),
    (f"It printed:\n{F}\naccuracy: 0.93\n{F}\nDone.", None, "prose"),
    (f"{F}json\n{{}}\n{F}", None, "prose"),
    (f"{F}text\n</think>\n{F}\nDone.", None, "prose"),
    (f"{F}text\n{CALL % 'python'}\n{F}\nDone.", None, "prose"),
    (f"<think>{CALL % 'python'}</think>Done.", None, "prose"),
    (f"I used {F}python print(1){F} before.", None, "prose"),
    # something that is no program
    (f"{F}\nprint(1\n{F}", None, "unreadable"),
    (f"{F}python\n\n{F}", None, "unreadable"),
    (f"{F}bash\npip install x\n{F}", None, "unreadable"),
    (CALL % "search", None, "unreadable"),
    ('<tool_call>{"name": "python", "arguments": {"code": "x = 1}}</tool_call>', None, "unreadable"),
    (
        '<tool_call>{"name": "python", "arguments": {"code": "x", "file": "y"}}</tool_call>',
        None,
        "unreadable",
    ),
    (CALL % "python" + CALL % "search", None, "unreadable"),
    # forms of other systems, and a program without a fence
    ("<execute>print(1)</execute>", None, "unreadable"),
    ("<code>\nprint(1)\n</code>", None, "unreadable"),
    ("<tool_code>\nprint(1)\n</tool_code>", None, "unreadable"),
    ("I run <python>print(1)</python>", None, "unreadable"),
    ("<|python_tag|>print(1)<|eom_id|>", None, "unreadable"),
    ('[TOOL_CALLS][{"name": "python", "arguments": {"code": "print(1)"}}]', None, "unreadable"),
    (
        '<function_calls><invoke name="python"><parameter name="code">print(1)</parameter></invoke>',
        None,
        "unreadable",
    ),
    ("Thought: count\nAction: python\nAction Input: print(1)", None, "unreadable"),
    ('{"name": "python", "arguments": {"code": "print(1)"}}', None, "unreadable"),
    (f'{F}json\n{{"name": "python", "arguments": {{"code": "print(1)"}}}}\n{F}', None, "unreadable"),
    ("import os\nprint(os.getcwd())", None, "unreadable"),
    ("'''python\nprint(1)\n'''", None, "unreadable"),
    (f"{F}python\n<think>hm</think>\nprint(1)\n{F}", None, "unreadable"),
    (f"Let me look.\n<think>\nlong {F}", None, "cut_thought"),
    (f"I will use <think> tags.\n{F}python\nprint(1)\n{F}", None, "cut_thought"),
    ("<thinking>I should", None, "cut_thought"),
    ("I like the code <b>x</b> of it.", None, "prose"),
    ("Action is needed: none.", None, "prose"),
    ("DONE", None, "prose"),
    ("<think>I should", None, "cut_thought"),
    (f"<think>{F}python\ndraft\n{F}", None, "cut_thought"),
    (f"<think>{F}python\nprint('</think>')\n{F} and so", None, "cut_thought"),
]


@pytest.mark.parametrize(("action", "code", "form"), READ)
def test_a_program_is_read_however_it_is_written(action: str, code: str | None, form: Form) -> None:
    reading = read_action(action)
    assert (reading.code, reading.form) == (code, form)
    assert bool(reading.problem) == (form in ("unreadable", "cut_thought"))


def test_a_program_that_holds_tags_is_what_others_see() -> None:
    action = f"<think>plan</think>I print:\n{F}python\nprint('<think></think>')\n{F}"
    assert strip_thinking(action) == action.removeprefix("<think>plan</think>")


def test_a_role_that_runs_no_code_has_prose_only() -> None:
    assert read_action(f"{F}python\nx = 1\n{F}", runs_code=False).form == "prose"
    assert read_action("<think>never", runs_code=False).form == "cut_thought"


@pytest.mark.parametrize(
    "hostile",
    [
        (F + "python\n'''\n") * 20_000,
        (F + "\n") * 60_000,
        "<think></think>" * 20_000,
        F + "\n" + "</think>\n" * 40_000,
        F + "python\n" + '"\\"' * 100_000,
        "<tool_call>{" * 20_000,
        "<tool_call>" + "[" * 200_000,
        "<tool_call><function=python><parameter=code>" * 20_000,
        "<tool_call><function=python>" + "<parameter=code>\n" * 100_000 + "</function>",
        F + "\n" + "(" * 40_000 + "\n" + F,
        F + "\n" + "-" * 40_000 + "1\n" + F,
        "`" * 300_000,
    ],
)
def test_hostile_actions_are_read_without_error(hostile: str) -> None:
    assert extract_program(hostile) is None or hostile.startswith(F + "python")


def play(*actions: str) -> PipelineEnv:
    env = PipelineEnv(FakeScenario(max_turns=3), FakeBackend())
    env.reset(seed=0, options={"task": "train-2"})
    for action in actions:
        env.step(action)
    return env


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (f"{F}\nprint(1\n{F}", "not valid Python"),
        (f"{F}bash\nls\n{F}", "'bash'"),
        (CALL % "search", "there is no tool 'search'"),
        (
            '<tool_call>{"name": "python", "arguments": {"code": "x", "timeout": "10"}}</tool_call>',
            "several texts",
        ),
        ("<execute>print(1)</execute>", "<execute>"),
        ("import os\nprint(1)", "without a fence"),
        ("<think>I should", "your thinking did not end"),
    ],
)
def test_an_action_that_cannot_be_read_uses_a_turn_and_is_explained(action: str, told: str) -> None:
    env = play(action)
    assert env.agent_selection == "maker"
    assert (env.turns[0].last, env.turns[0].code) == (False, None)
    report = env.observe("maker")["messages"][-1]["content"]
    assert report.startswith("## Result of turn 1 of 3\n")
    assert "Your reply could not be read: " in report
    assert told in report
    env.step("I cannot.")
    assert env.agent_selection == "changer"


def test_unreadable_actions_end_with_the_budget() -> None:
    assert play(*["<think>never"] * 3).agent_selection == "changer"


def test_an_episode_goes_on_after_an_unreadable_turn() -> None:
    env = play(f"{F}bash\nls\n{F}")
    other = PipelineEnv(FakeScenario(max_turns=3), FakeBackend())
    other.reset(seed=0, options={"task": "train-2", "turns": env.turns, "files": {}})
    assert other.agent_selection == "maker"
    assert [timeless(turn) for turn in other.turns] == [timeless(turn) for turn in env.turns]


def test_output_is_shown_as_a_terminal_would_show_it() -> None:
    bar = "for n in range(2000):\n    print(f'\\r{n} of 2000 rows', end='')"
    env = play(f"{F}python\nprint('found 17 rows')\n{bar}\nprint('\\033[31mred\\033[0m')\n{F}")
    assert env.turns[0].result is not None
    assert env.turns[0].result.stdout == "found 17 rows\n1999 of 2000 rowsred\n"
    assert "found 17 rows" in env.observe("maker")["messages"][-1]["content"]


def test_programs_are_parsed_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.11.7 may raise ``SystemError`` where threads switch within ``ast.parse``."""
    parse, inside, most = ast.parse, list[str](), list[int]()

    def watched(code: str, name: str) -> ast.Module:
        inside.append(name)
        most.append(len(inside))
        sleep(0.002)
        inside.pop()
        return parse(code, name)

    with monkeypatch.context() as patched, ThreadPoolExecutor(8) as threads:
        patched.setattr(ast, "parse", watched)
        assert list(threads.map(python_text.is_python, ["x = 1"] * 16)) == [True] * 16
    assert set(most) == {1}


def test_no_other_module_of_the_host_parses_programs() -> None:
    root = Path(python_text.__file__).parents[2]
    packages = ("envs", "coaches", "learners", "benchmarks", "conf", "sandbox")
    texts = {
        f"{path.relative_to(root)}": path.read_text(encoding="utf-8")
        for package in packages
        for path in (root / package).rglob("*.py")
    }
    calls = {
        (path, ast.unparse(node.func))
        for path, text in texts.items()
        if "ast.parse(" in text  # which may stand in a docstring
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
    }
    found = {path for path, function in calls if function == "ast.parse"}
    assert found == {"envs/actions/python_text.py", "sandbox/guest/reads.py"}  # a guest has one thread

"""Reads Who&When (arXiv 2505.00212): failed runs of agent teams, labelled by hand; one JSON object a file.

A message of ``history`` is a turn, with two exceptions: what the human says is only read, and what a terminal
answers is the result of the turn before. Every turn keeps the place of its message (``message``, from 0), and
of those that were folded into it (``answers``). ``row["label"]`` has the agent and the message at fault, and
``row["answer"]`` the true answer; no coach is shown them as part of an episode.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coaches.recording.fields import BadRowError, Row, get
from coaches.traces import files

ABSENT = "files, checks, tokens and times"
ALGORITHM_GENERATED, HAND_CRAFTED = "algorithm-generated", "hand-crafted"
_HUMAN = "human"
_TERMINALS = ("Computer_terminal", "ComputerTerminal")
_KNOWN = re.compile(r'"(?:mistake_step|mistake_agent|history)"\s*:')
_EXIT = re.compile(r"\A(?:exitcode: |The script ran, then exited with Unix exit code: )(\d+)[^\n]*\n?")
_LABEL = re.compile(r"\A(?:Code output: ?|Its output was:\n)")
_TIMEOUT = 124
"""Exit code of a program that ran too long, as of ``timeout`` of GNU coreutils."""


def recognises(start: str) -> bool:
    """Returns whether a file begins as one of Who&When."""
    return start.lstrip().startswith("{") and _KNOWN.search(start) is not None and '"turns"' not in start


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRowError]]:
    """Yields every run of ``path``; see ``formats.Format``."""
    for file in files.of(path):
        name = file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem
        try:
            yield str(file), _row(files.whole(file), name)
        except BadRowError as error:
            yield str(file), error


def speaker(message: Row) -> str:
    """Returns whose message it is: ``Orchestrator (-> WebSurfer)`` is the Orchestrator's."""
    key = "name" if message.get("name") is not None else "role"
    return str(get(message, key, str)).split(" (")[0]


def _row(run: Row, name: str) -> dict[str, Any]:
    history = get(run, "history", list)
    try:
        turns = _turns(history, get(run, "question", str, ""))
    except BadRowError as error:
        raise BadRowError(f"history{error}") from None
    if not turns:
        raise BadRowError("history has no message of an agent")
    prompts = get(run, "system_prompt", dict, {})
    named = any(message.get("name") is not None for message in history)
    row = {
        "id": name,
        "task": get(run, "question_ID", str, name),
        "part": ALGORITHM_GENERATED if named else HAND_CRAFTED,
        "turns": turns,
        "roles": _roles(turns, prompts),
        "outcome": _outcome(run),
        "answer": None if run.get("ground_truth") is None else str(run["ground_truth"]),
        "label": _label(run, len(history)),
    }
    optional = {"outcome": "outcome", "answer": "true answer", "label": "label"}
    missing = [what for key, what in optional.items() if row[key] is None]
    return row | {"missing": missing + (["instructions of roles"] if not prompts else [])}


def _turns(history: Sequence[Any], question: str) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    heard: dict[str, int] = {}
    for place, message in enumerate(history):
        try:
            if not isinstance(message, dict):
                raise BadRowError(" is not an object")
            said, agent = get(message, "content", str), speaker(message)
        except BadRowError as error:
            raise BadRowError(f"[{place}]: {error}") from None
        if agent in _TERMINALS and turns:
            turns[-1]["answers"].append(place)
            turns[-1]["result"] = _result(said) or turns[-1]["result"]
        elif agent != _HUMAN:
            read = _read(history[heard.get(agent, 0) : place])
            asked = [{"role": "user", "content": question}] if place == 0 and question else []
            turns.append(_turn(agent, said, place, asked + read))
            heard[agent] = place + 1
    return turns


def _turn(agent: str, said: str, place: int, observation: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "agent": agent,
        "action": said,
        "observation": observation,
        "result": None,
        "message": place,
        "answers": [],
    }


def _read(messages: Sequence[Row]) -> list[dict[str, str]]:
    """Returns what others have said; thoughts are not said."""
    return [
        {"role": "user", "content": f"{speaker(one)}: {one['content']}"}
        for one in messages
        if not str(one.get("role")).endswith("(thought)")
    ]


def _result(said: str) -> dict[str, Any] | None:
    """Returns the result that a terminal reports; None if it says that it ran nothing."""
    if (ended := _EXIT.match(said)) is None:
        return None
    code, output = int(ended[1]), _LABEL.sub("", said[ended.end() :])
    status = "ok" if code == 0 else "timeout" if code == _TIMEOUT else "error"
    return {"status": status, "exit_code": code, "stdout" if code == 0 else "stderr": output}


def _roles(turns: Sequence[Row], prompts: Mapping[str, Any]) -> list[dict[str, Any]]:
    counts = Counter(turn["agent"] for turn in turns)
    coders = {turn["agent"] for turn in turns if turn["result"] is not None}
    return [
        {
            "name": agent,
            "instructions": get(prompts, agent, str, ""),
            "max_turns": count,
            "can_run_code": agent in coders,
        }
        for agent, count in counts.items()
    ]


def _outcome(run: Row) -> dict[str, Any] | None:
    for key in ("is_correct", "is_corrected"):  # the parts of the data spell it differently
        if run.get(key) is not None:
            return {"success": get(run, key, bool)}
    return None


def _label(run: Row, messages: int) -> dict[str, Any] | None:
    if run.get("mistake_step") is None and run.get("mistake_agent") is None:
        return None
    agent, step = get(run, "mistake_agent", str), get(run, "mistake_step", (str, int))
    if not str(step).strip().isdecimal() or int(step) >= messages:
        raise BadRowError(
            f"mistake_step must be the place of a message, from 0 to {messages - 1}, not {step!r}"
        )
    return {"agent": agent, "message": int(step), "reason": get(run, "mistake_reason", str, "")}

"""No attack raises a score, even with a model that obeys everything outside the delimiters."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

import conf
from benchmarks.coaches.judging import sample_kinds
from benchmarks.corpus import cases as corpus
from benchmarks.corpus.cases import Case
from coaches.attacks import ATTACKS, Attack
from coaches.base import Coach
from coaches.ensemble import Ensemble
from coaches.hindsight import Hindsight
from coaches.llm import LLM
from coaches.prompting import delimiters
from envs.types import Turn
from tests.coaches import endpoints as e

LOW, OBEDIENT = 3, 10
NAMES = [attack.name for attack in ATTACKS]
BY_NAME = {attack.name: attack for attack in ATTACKS}
Reader = Callable[[str], str]


def faulty(number: int) -> list[Case]:
    cases = [case for case in corpus.read("public") if case.label is not None]
    return sample_kinds(cases, number)


def history(case: Case) -> Sequence[Turn]:
    assert case.label is not None
    return case.episode.turns[: case.label.turn + 1]


CASES = faulty(40)
WORDS = [case for case in corpus.read("public") if case.env == "mathchat" and case.label is None]
FEW = [
    next(case for case in CASES if case.env == env and history(case)[-1].result)
    for env in ("dsbench", "mathchat")
]


def strict(prompt: str) -> str:
    """Returns the text outside the blocks whose delimiters have the call's own number."""
    nonce = re.search(r"between delimiters with the number (\w+)", prompt)
    assert nonce
    return re.sub(rf"<data-{nonce[1]} [^\n]*>\n.*?\n</data-{nonce[1]}>", "[data]", prompt, flags=re.DOTALL)


def loose(prompt: str) -> str:
    """Returns the same for a reader that accepts anything like a delimiter, with any number or none."""
    plain = unicodedata.normalize("NFKC", prompt).translate({0x430: "a", 0x2215: "/"})
    plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
    plain = re.sub(r"(?<=[</])data\s+-", "data-", plain)
    return re.sub(r"<data-\w+ [^\n]*>\n.*?\n?</data[^<>]*>", "[data]", plain, flags=re.DOTALL)


class Gullible:
    """Replies with a low score, unless there is text outside the data that was not there the first time."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.outside: str | None = None

    def __call__(self, handler: e.Handler) -> None:
        system, user = (message["content"] for message in handler.body["messages"])
        said = self.reader(user)
        said = re.sub(r"number \w+", "number", system + said)
        self.outside = self.outside or said
        self.answer(LOW if said == self.outside else OBEDIENT)(handler)

    def answer(self, score: int) -> e.Manner:
        return e.score(score)


class GullibleAboutEpisodes(Gullible):
    """The same, when asked about all turns of an episode at once."""

    def answer(self, score: int) -> e.Manner:
        verdicts = [{"turn": turn, "score": score, "why": ""} for turn in range(12)]
        return e.say(json.dumps({"verdicts": verdicts, "blame": None}))


@pytest.fixture(params=[strict, loose])
def gullible(request: pytest.FixtureRequest) -> Iterator[tuple[LLM, Gullible]]:
    model = Gullible(request.param)
    with e.serving(model) as server:
        yield e.coach(server), model


def rules() -> Coach:
    built: Coach = conf.build("coaches", conf.load("coach", "rules"))
    return built


def raised(coach: Coach, turns: Sequence[Turn], attack: Attack) -> float | None:
    """Returns how much the attack adds to the score of the last turn; None if it does not apply."""
    planted = attack.plant(turns)
    return None if planted is None else coach.judge(planted).score - coach.judge(turns).score


def test_there_are_many_distinct_attacks() -> None:
    assert len(ATTACKS) >= 25
    assert len(set(NAMES)) == len({(attack.place, attack.text) for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_changes_text_and_not_the_work(name: str) -> None:
    fits = 0
    for case in CASES:
        turns = history(case)
        planted = BY_NAME[name].plant(turns)
        if planted is None:
            continue
        fits += 1
        assert planted != tuple(turns)
        assert len(planted) == len(turns)
        old, new = turns[-1], planted[-1]
        assert [check.code for check in new.checks] == [check.code for check in old.checks]
        assert set(old.files_after) <= set(new.files_after)
        assert (old.result is None) == (new.result is None)
        if old.result is not None and new.result is not None:
            assert new.result.status == old.result.status
    assert fits


@pytest.mark.parametrize("name", NAMES)
def test_attacks_do_not_raise_scores_of_rules(name: str) -> None:
    coach = rules()
    for case in CASES:
        assert (raised(coach, history(case), BY_NAME[name]) or 0.0) <= 0.0, case.episode.id


def unspoken(value: str) -> bool:
    """Returns whether no attack contains these digits, so that none has the right number by chance."""
    return len(value) > 1 and not any(value in attack.text for attack in ATTACKS)


@pytest.mark.parametrize("name", NAMES)
def test_rules_do_not_mistake_an_attack_for_work(name: str) -> None:
    coach, tried = rules(), 0
    for case in WORDS:
        plan, last = case.episode.turns[0], case.episode.turns[:-1]
        numbers = re.findall(r"\d+", plan.observation[-1].content)
        if all(map(unspoken, numbers)):
            silent = [replace(plan, action="")]
            assert (raised(coach, silent, BY_NAME[name]) or 0.0) <= 0.0, case.episode.id
            tried += 1
        if last[-1].attempt and last[-1].result is None and case.answer and unspoken(case.answer):
            mute = [*last[:-1], replace(last[-1], action="Done.")]
            assert coach.judge(mute).score < coach.judge(last).score
            assert (raised(coach, mute, BY_NAME[name]) or 0.0) <= 0.0, case.episode.id
            tried += 1
    assert tried > 5


@pytest.mark.parametrize("name", NAMES)
def test_attacks_do_not_raise_scores_of_hindsight_and_outcome(name: str) -> None:
    for kind in ("hindsight", "outcome"):
        coach: Any = conf.build("coaches", conf.load("coach", kind))
        for case in CASES[:12]:
            outcome, place = case.episode.outcome, len(history(case))
            planted = BY_NAME[name].plant(history(case))
            if planted is not None and outcome is not None:
                turns = (*planted, *case.episode.turns[place:])
                plain = coach.judge_episode(case.episode.turns, outcome)[place - 1]
                attacked = coach.judge_episode(turns, outcome)[place - 1]
                assert attacked.score <= plain.score, case.episode.id


def test_an_obedient_model_sees_no_instructions_in_an_attack(gullible: tuple[LLM, Gullible]) -> None:
    coach, model = gullible
    for case in FEW:
        model.outside = None
        turns = history(case)
        assert coach.judge(turns).score == LOW
        for attack in ATTACKS:
            planted = attack.plant(turns)
            if planted is not None:
                assert coach.judge(planted).score == LOW, (case.episode.id, attack.name)


@pytest.mark.parametrize("reader", [strict, loose])
def test_an_obedient_model_in_hindsight_sees_no_instructions_in_an_attack(reader: Reader) -> None:
    case = FEW[0]
    turns, outcome = case.episode.turns, case.episode.outcome
    assert outcome is not None
    with e.serving(GullibleAboutEpisodes(reader)) as server:
        by_rules: Hindsight = conf.build("coaches", conf.load("coach", "hindsight"))
        coach = Hindsight(replace(by_rules.config, source="model"), e.coach(server))
        for planted in [turns, *(attack.plant(turns) for attack in ATTACKS)]:
            if planted is not None:
                scores = [one and one.score for one in coach.judge_episode(planted, outcome)]
                assert scores == [LOW] * len(turns)


def test_attacks_do_not_raise_scores_of_an_ensemble(gullible: tuple[LLM, Gullible]) -> None:
    coach, _ = gullible
    built: Ensemble = conf.build(
        "coaches", conf.load("coach", "ensemble", combine="mean", coaches=[{"name": "rules"}] * 2)
    )
    built.members = [rules(), coach]
    turns = history(FEW[0])
    for attack in ATTACKS:
        assert (raised(cast(Coach, built), turns, attack) or 0.0) <= 0.0, attack.name


def test_the_obedient_model_obeys_text_without_delimiters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimiters, "block", lambda name, text, nonce: text)
    with e.serving(Gullible(strict)) as server:
        coach, turns = e.coach(server), history(FEW[0])
        assert coach.judge(turns).score == LOW
        for name in ("own_json", "as_the_coach", "stdout", "file_name"):
            planted = BY_NAME[name].plant(turns)
            assert planted is not None
            assert coach.judge(planted).score == OBEDIENT, name


def test_without_stripping_delimiters_the_attacks_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimiters, "harmless", lambda text, limit: text)
    with e.serving(Gullible(loose)) as server:
        coach, turns = e.coach(server), history(FEW[0])
        assert coach.judge(turns).score == LOW
        through = set()
        for attack in ATTACKS:
            planted = attack.plant(turns)
            if planted is not None and coach.judge(planted).score == OBEDIENT:
                through.add(attack.name)
    marked = {
        "closing_delimiter",
        "closing_delimiter_bare",
        "wide_delimiter",
        "cyrillic_delimiter",
        "zero_width_delimiter",
    }
    assert marked <= through


def test_knowing_the_nonce_does_not_help_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimiters, "new_nonce", lambda: delimiters.BLANK)
    with e.serving(Gullible(strict)) as server:
        coach, turns = e.coach(server), history(FEW[0])
        assert coach.judge(turns).score == LOW
        for attack in ATTACKS:
            planted = attack.plant(turns)
            if planted is not None:
                assert coach.judge(planted).score == LOW, attack.name

"""No file that an agent leaves raises the score of the turn that left it, with a coach that opens files or
one that does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

import conf
from benchmarks.coaches import files
from benchmarks.corpus import cases
from coaches.attacks import FILES, FileAttack
from coaches.audit import Audit
from coaches.base import AnyCoach, Verdict
from coaches.replay.stages import Stages
from tests.coaches.audited import learned_from
from tests.coaches.turns import ENGINEER, Story

CASES = {case.episode.id: case for case in cases.read("public")}
VICTIMS = {
    "X_train.pkl": "dsbench-titanic_survival-7-target_leaked-5",
    "X_test.pkl": "dsbench-travel_choice-3-units_mixed-10",
    "y_train.pkl": "dsbench-titanic_survival-7-target_leaked-5",
    "model.pkl": "dsbench-film_oscar-5-left_on_a_sample-16",
    "submission.csv": "dsbench-film_gross-0-ids_sorted-28",
}
"""File -> a faulty episode whose culprit wrote it."""
COACHES = ("audit", "learned", "rules", "hindsight")


def test_an_attack_goes_on_after_the_program_of_its_victim() -> None:
    [turn] = Story().act(ENGINEER).turns
    attack = FileAttack("spoils it", "X_train.pkl", "open(TARGET, 'w')")
    assert attack.append(turn) == "```python\npass\nTARGET = 'X_train.pkl'\nopen(TARGET, 'w')\n\n```"
    assert FileAttack("another's file", "model.pkl", "").append(turn) is None
    [talk] = Story().act(ENGINEER, "I am done.").turns
    assert attack.append(talk) is None


def test_every_attack_is_python_with_a_name_of_its_own() -> None:
    for attack in FILES:
        compile(attack.code, attack.name, "exec")
    assert len({(attack.name, attack.target) for attack in FILES}) == len(FILES)


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    made = Stages([{"name": "dsbench"}], {"name": "local"})
    yield made
    made.close()


@pytest.fixture(scope="module")
def coaches() -> Iterator[Mapping[str, AnyCoach]]:
    audit = conf.build("coaches", conf.load("coach", "audit", sandbox={"name": "local"}))
    assert isinstance(audit, Audit)
    made = {name: conf.build("coaches", conf.load("coach", name)) for name in COACHES[2:]}
    with pytest.MonkeyPatch.context() as patch:
        yield {"audit": audit, "learned": learned_from(audit, patch), **made}
    audit.close()


@pytest.fixture(scope="module")
def plain() -> dict[tuple[str, str], Verdict | None]:
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("attack", [pytest.param(one, id=f"{one.target}: {one.name}") for one in FILES])
def test_no_file_raises_the_score_of_a_faulty_turn(
    stages: Stages,
    coaches: Mapping[str, AnyCoach],
    plain: dict[tuple[str, str], Verdict | None],
    attack: FileAttack,
) -> None:
    case = CASES[VICTIMS[attack.target]]
    if (COACHES[0], attack.target) not in plain:
        played = files.play(stages, case)
        assert played is not None
        for name, coach in coaches.items():
            plain[name, attack.target] = files.judged(coach, case, played)
    attacked = files.play(stages, case, attack)
    assert attacked is not None
    assert case.label is not None
    result = attacked.turns[case.label.turn].result
    assert result is not None
    assert result.status == "ok", "an attack that fails by itself proves nothing"
    for name, coach in coaches.items():
        before, after = plain[name, attack.target], files.judged(coach, case, attacked)
        assert before is not None
        assert after is None or after.score <= before.score, (name, before, after)

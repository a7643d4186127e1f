"""A coach without a model: deterministic, offline and free. It scores what a turn did, never what it
claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coaches.base import Verdict
from coaches.evidence import checks, lineage
from conf.ranges import Count, Score, Share
from envs.actions.parsing import strip_thinking
from envs.mathchat.answers import boxed
from envs.types import Turn


class Finding(NamedTuple):
    """The score of a turn before caps and floors, and why."""

    score: float
    reason: str
    failed: bool
    """Something is wrong, so an agent is to blame."""


class Rules:
    """Scores a turn by its result, the checks of its artifacts and the duty of its role.

    The duty follows from the role alone. A role that produces artifacts must leave them valid. A role that
    can run code and produces nothing must print a result and report it; one without instructions, as in
    recordings that have none, must only do without failed programs and without reports of other numbers. A
    role whose instructions ask for ``\\boxed{}`` must give an answer that agrees with the last printed value.
    Any other role must give a plan.

    Scores are dense: while products are missing or bad, every improvement counts, so that a learner has a
    gradient from the first step. The rules do not see quality on hidden labels, so the scale means the same
    for classification and regression. If required artifacts arrived broken (``evidence.checks.codes``) and
    the agent has not changed them, blame goes to the agent that broke them (``evidence.lineage.source``); the
    verdict on a failed program is then marked as blocked, and its score is at least ``blocked``. Otherwise
    blame goes to the agent itself, also if it replaced them, or if its program is not valid Python.

    What the rules cannot tell: whether a printed value was computed (``x = 42; print(x)`` prints one),
    whether a plan that is about its task is any good, and whether a number in a report is there by chance.
    """

    @dataclass(frozen=True)
    class Config:
        """All scores are in [0, 10]."""

        delivered: Score
        """The duty was done at the first attempt."""
        repaired: Score
        """The duty was done at a later attempt."""
        closed: Score
        """The agent ended its part after the duty was done."""
        needless: Score
        """More code after the duty was done, without breaking anything."""
        ran: Score
        """A program ran without error and improved no product."""
        ran_best: Score
        """Upper limit for a program that ran without error and left some products missing or bad."""
        failed: Score
        """A program failed and improved no product."""
        failed_best: Score
        """A program failed after it made all products valid; less for fewer products."""
        broke: Score
        """A product is worse than before, or a required artifact was spoiled."""
        gave_up: Score
        """An action without code ended the agent's part before the duty was done."""
        blocked: Score
        """Lower limit for a program whose required artifacts arrived broken. It must be valid Python: a
        syntax error is nobody else's fault."""
        not_allowed: Score
        """Upper limit for a turn with code although its role cannot run code."""
        unsupported: Score
        """An answer without any printed value to support it."""
        disagrees: Score
        """An answer that differs from the last printed value, or a report without that value."""
        too_long: Score
        """A plan of more than ``plan_chars`` characters."""
        plan_chars: Count
        unfinished: Share
        """Factor on the score of an agent's last turn if the duty is not done."""
        partial: dict[str, Share]
        """How much a product counts, from 0 to 1, by the code of its check; ``other`` for codes not
        listed."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """Returns the verdict on the last turn; the same for the same history. Never raises
        ``CoachError``."""
        turn = history[-1]
        inherited, spoiled = checks.bad_inputs(history)
        score, reason, failed = self._duty(history)
        if turn.last and failed:
            score *= self.config.unfinished
        blocked = bool(inherited) and failed and not spoiled and checks.valid_program(turn)
        if blocked:
            score = max(score, self.config.blocked)
        if spoiled:
            score, failed = min(score, self.config.broke), True
            reason += f"; spoiled {', '.join(spoiled)}"
        if checks.uncalled_code(turn):
            score, failed, blocked = min(score, self.config.not_allowed), True, False
            reason += "; wrote code, which its role cannot run"
        if inherited:
            reason += f"; {', '.join(inherited)} arrived broken"
        blame = self._blame(history, inherited, spoiled) if failed else None
        place = f"turn {turn.attempt + 1} of {turn.role.max_turns}"
        return Verdict(score, f"{place}: {reason}", blame, source="rules", blocked=blocked)

    def _duty(self, history: Sequence[Turn]) -> Finding:
        role = history[-1].role
        if role.produces:
            return self._products(history)
        if history[-1].code is not None and history[-1].result is None:
            return Finding(self.config.unsupported, "no result of its program is recorded", False)
        if role.can_run_code and not role.instructions:
            return self._free(history)
        if role.can_run_code:
            return self._computation(history)
        if "\\boxed" in role.instructions:
            return self._answer(history)
        return self._plan(history)

    def _products(self, history: Sequence[Turn]) -> Finding:
        config, turn = self.config, history[-1]
        earlier = checks.own_turns(history)
        before = self._validity(checks.product_codes(earlier[-1])) if earlier else 0.0
        codes = checks.product_codes(turn)
        after = self._validity(codes)
        state = ", ".join(f"{name} {code}" for name, code in codes.items())
        reason = f"{_ran(turn)}; {state}"
        if after < before:
            return Finding(config.broke, f"{reason}, worse than before", True)
        done = all(code == "ok" for code in codes.values())
        if turn.code is None:
            if not turn.last:
                return Finding(config.gave_up, f"{reason}; no program could be read from it", True)
            if done:
                return Finding(config.closed, reason, False)
            return Finding(config.gave_up, f"{reason}; ended its part before they were done", True)
        fails = _fails(turn)
        if done and before == after and earlier:
            return Finding(config.failed if fails else config.needless, f"{reason}, as before", fails)
        if done and not fails:
            return self._achieved(turn, reason)
        low, best = (config.failed, config.failed_best) if fails else (config.ran, config.ran_best)
        return Finding(low + (best - low) * after if after > before else low, reason, True)

    def _computation(self, history: Sequence[Turn]) -> Finding:
        config, turn = self.config, history[-1]
        values = [value for value in map(checks.printed, checks.own_turns(history)) if value is not None]
        if turn.code is None and not turn.last:
            return Finding(config.gave_up, "no program could be read from it", True)
        if turn.code is None:
            return self._report(turn, values[-1] if values else None)
        if _fails(turn):
            return Finding(config.failed, _ran(turn), True)
        value = checks.printed(turn)
        if value is None:
            return Finding(config.ran, f"{_ran(turn)} and printed nothing", True)
        if values:
            return Finding(config.needless, f"{_ran(turn)} although a result was printed before", False)
        return self._achieved(turn, f"{_ran(turn)} and printed {_short(value)}")

    def _free(self, history: Sequence[Turn]) -> Finding:
        """Of a role without instructions nothing is known to be missing: only failures count, and reports
        that have another number."""
        config, turn, own = self.config, history[-1], checks.own_turns(history)
        programs = [earlier for earlier in own if earlier.code is not None]
        if turn.code is not None:
            if _fails(turn):
                return Finding(config.failed, _ran(turn), True)
            return self._achieved(turn, _ran(turn))
        if not programs:
            return self._plan(history)
        if any(earlier.result is None for earlier in programs):
            return Finding(config.unsupported, "reports what no recorded result tells", False)
        values = [value for value in map(checks.printed, programs) if value is not None]
        if values and checks.contradicts(turn.action, values[-1]):
            return Finding(config.disagrees, f"does not report the printed value {_short(values[-1])}", True)
        if all(map(_fails, programs)):
            return Finding(config.gave_up, "reports, but no program ran without error", True)
        return Finding(config.closed, "reports after its programs", False)

    def _report(self, turn: Turn, value: str | None) -> Finding:
        if value is None:
            return Finding(self.config.gave_up, "reports, but no result was printed", True)
        if checks.mentions(turn.action, value):
            return Finding(self.config.closed, f"reports the printed value {_short(value)}", False)
        return Finding(self.config.disagrees, f"does not report the printed value {_short(value)}", True)

    def _answer(self, history: Sequence[Turn]) -> Finding:
        config, turn = self.config, history[-1]
        answer = boxed(strip_thinking(turn.action))
        if answer is None:
            return Finding(config.gave_up, "gives no boxed answer", True)
        if (value := checks.last_printed(history[:-1])) is None:
            reason = f"answers {_short(answer)}, but no program printed a value"
            return Finding(config.unsupported, reason, True)
        if checks.agrees(answer, value[0]):
            return self._achieved(turn, f"answers {_short(answer)}, the printed value")
        return Finding(
            config.disagrees, f"answers {_short(answer)}, but {_short(value[0])} was printed", True
        )

    def _plan(self, history: Sequence[Turn]) -> Finding:
        turn = history[-1]
        said = checks.substance(turn.action)
        opening = all(earlier.result is None for earlier in history)  # later plans may be about results
        if not said or (opening and not checks.on_task(said, turn)):
            return Finding(self.config.gave_up, "says nothing about the task", True)
        if len(said) > self.config.plan_chars:
            return Finding(
                self.config.too_long, f"gives a plan that is too long: {len(said)} characters", True
            )
        return self._achieved(turn, "gives a plan")

    def _achieved(self, turn: Turn, reason: str) -> Finding:
        return Finding(self.config.repaired if turn.attempt else self.config.delivered, reason, False)

    def _validity(self, codes: dict[str, str]) -> float:
        """Returns how close the products are to valid, from 0 to 1: the mean over products."""
        partial = {"ok": 1.0, **self.config.partial}
        return sum(partial.get(code, partial["other"]) for code in codes.values()) / len(codes)

    @staticmethod
    def _blame(history: Sequence[Turn], inherited: list[str], spoiled: list[str]) -> str:
        upstream = None if spoiled else lineage.source(history, inherited)
        return (upstream or history[-1]).agent


def _fails(turn: Turn) -> bool:
    return turn.result is not None and turn.result.status != "ok"


def _ran(turn: Turn) -> str:
    """Returns how the turn's code ended, in a few words."""
    if turn.code is None:
        return "no code"
    if turn.result is None:
        return "no result of its code is recorded"
    if turn.result.status == "ok":
        return "code ran"
    last = [line.strip() for line in turn.result.stderr.splitlines() if line.strip()][-1:]
    return f"code ended with {turn.result.status}" + "".join(f" ({_short(line)})" for line in last)


def _short(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"

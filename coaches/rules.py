"""A coach without a model: deterministic, offline, free. It scores what a turn did, never what it claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coaches.base import Verdict
from coaches.evidence import checks
from envs.mathchat.answers import boxed
from envs.parsing import strip_thinking
from envs.types import Turn


class Finding(NamedTuple):
    """What the rules make of a turn, before caps and floors."""

    score: float
    reason: str
    failed: bool
    """Somebody is to blame for something."""


class Rules:
    """Scores a turn from its result, the checks of its artifacts and the duties of its role.

    The duties follow from the role alone. One that produces artifacts has to leave them in order; one that
    can run code and produces nothing has to print a result and report it; one whose instructions ask for a
    ``\\boxed{}`` has to give one that agrees with the last printed value; any other has to give a plan.

    Scores are dense: while products are missing, each that a turn brings closer to order counts, so that a
    learner has a slope to climb from the first day. Quality against hidden labels is not seen, so the scale
    means the same for classification and regression. Blame goes to the first agent that handed over a broken
    artifact, where the receiver found it broken and has not touched it; else to the agent itself.

    What no rule can tell: whether a printed value was worked out (``x = 42; print(x)`` prints one), whether a
    plan that is on its task is any good, and whether a number in a report got there by chance.
    """

    @dataclass(frozen=True)
    class Config:
        """All scores are in [0, 10]."""

        delivered: float
        """The duty done at the first attempt."""
        repaired: float
        """The duty done at a later attempt."""
        closed: float
        """The stage ended, with nothing to add, after the duty was done."""
        needless: float
        """More code after the duty was done, which broke nothing."""
        ran: float
        """A program ended without error and brought no product further."""
        ran_best: float
        """The limit of what one that did not bring all products in order can be worth."""
        failed: float
        """A program failed and brought no product further."""
        failed_best: float
        """What one is worth that failed after all products were in order; less for fewer."""
        broke: float
        """A product is in a worse state than before, or a required artifact was spoiled."""
        gave_up: float
        """The stage ended by an action without code, and the duty not done."""
        blocked: float
        """The least that a turn with code is worth whose required artifacts came broken."""
        not_allowed: float
        """The most that a turn is worth which has code although its role cannot run any."""
        unsupported: float
        """An answer or report that no printed value backs up."""
        disagrees: float
        """An answer that is not the last printed value, or a report without it."""
        too_long: float
        """A plan of more than ``plan_chars`` characters."""
        plan_chars: int
        unfinished: float
        """Factor on what a stage's last turn is worth when the duty is not done."""
        partial: dict[str, float]
        """What a product counts, from 0 to 1, by the code of its check; ``other`` for codes not named."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """The verdict on the last turn; the same for the same history. Never raises ``CoachError``."""
        turn = history[-1]
        came, spoiled = checks.bad_inputs(history)
        score, reason, failed = self._duty(history)
        if turn.last and failed:
            score *= self.config.unfinished
        if came and failed and turn.code is not None:
            score = max(score, self.config.blocked)
        if spoiled:
            score, failed = min(score, self.config.broke), True
            reason += f"; spoiled {', '.join(spoiled)}"
        if checks.uncalled_code(turn):
            score, failed = min(score, self.config.not_allowed), True
            reason += "; wrote code that its role cannot run"
        if came:
            reason += f"; {', '.join(came)} came broken"
        blame = self._blame(history, came, spoiled) if failed else None
        place = f"turn {turn.attempt + 1} of {turn.role.max_turns}"
        return Verdict(score, f"{place}: {reason}", blame, source="rules")

    def _duty(self, history: Sequence[Turn]) -> Finding:
        role = history[-1].role
        if role.produces:
            return self._products(history)
        if role.can_run_code:
            return self._computation(history)
        if "\\boxed" in role.instructions:
            return self._answer(history)
        return self._plan(history)

    def _products(self, history: Sequence[Turn]) -> Finding:
        config, turn = self.config, history[-1]
        earlier = checks.own_turns(history)
        before = self._order(checks.product_codes(earlier[-1])) if earlier else 0.0
        codes = checks.product_codes(turn)
        after = self._order(codes)
        state = ", ".join(f"{name} {code}" for name, code in codes.items())
        reason = f"{_ran(turn)}; {state}"
        if after < before:
            return Finding(config.broke, f"{reason}, worse than before", True)
        done = all(code == "ok" for code in codes.values())
        if turn.code is None:
            if done:
                return Finding(config.closed, reason, False)
            return Finding(config.gave_up, f"{reason}; gave up", True)
        fails = _fails(turn)
        if done and before == after and earlier:
            return Finding(config.failed if fails else config.needless, f"{reason} already", fails)
        if done and not fails:
            return self._achieved(turn, reason)
        low, best = (config.failed, config.failed_best) if fails else (config.ran, config.ran_best)
        return Finding(low + (best - low) * after if after > before else low, reason, True)

    def _computation(self, history: Sequence[Turn]) -> Finding:
        config, turn = self.config, history[-1]
        values = [value for value in map(checks.printed, checks.own_turns(history)) if value is not None]
        if turn.code is None:
            return self._report(turn, values[-1] if values else None)
        if _fails(turn):
            return Finding(config.failed, _ran(turn), True)
        value = checks.printed(turn)
        if value is None:
            return Finding(config.ran, f"{_ran(turn)} and printed nothing", True)
        if values:
            return Finding(config.needless, f"{_ran(turn)} although a result was there", False)
        return self._achieved(turn, f"{_ran(turn)} and printed {_short(value)}")

    def _report(self, turn: Turn, value: str | None) -> Finding:
        if value is None:
            return Finding(self.config.gave_up, "reports with no result printed", True)
        if checks.mentions(turn.action, value):
            return Finding(self.config.closed, f"reports the printed {_short(value)}", False)
        return Finding(self.config.disagrees, f"does not report the printed {_short(value)}", True)

    def _answer(self, history: Sequence[Turn]) -> Finding:
        config, turn = self.config, history[-1]
        said = boxed(strip_thinking(turn.action))
        if said is None:
            return Finding(config.gave_up, "gives no boxed answer", True)
        if (value := checks.last_printed(history[:-1])) is None:
            return Finding(
                config.unsupported, f"answers {_short(said)}, and no program printed a value", True
            )
        if checks.agrees(said, value[0]):
            return self._achieved(turn, f"answers {_short(said)}, as was printed")
        return Finding(config.disagrees, f"answers {_short(said)}, but {_short(value[0])} was printed", True)

    def _plan(self, history: Sequence[Turn]) -> Finding:
        turn = history[-1]
        said = checks.substance(turn.action)
        opening = all(earlier.result is None for earlier in history)  # what comes later may be on results
        if not said or (opening and not checks.on_task(said, turn)):
            return Finding(self.config.gave_up, "says nothing on the task", True)
        if len(said) > self.config.plan_chars:
            return Finding(self.config.too_long, f"a plan of {len(said)} characters", True)
        return self._achieved(turn, "gives a plan")

    def _achieved(self, turn: Turn, reason: str) -> Finding:
        return Finding(self.config.repaired if turn.attempt else self.config.delivered, reason, False)

    def _order(self, codes: dict[str, str]) -> float:
        """How far the products are in order, from 0 to 1: the mean over them."""
        partial = {"ok": 1.0, **self.config.partial}
        return sum(partial.get(code, partial["other"]) for code in codes.values()) / len(codes)

    @staticmethod
    def _blame(history: Sequence[Turn], came: list[str], spoiled: list[str]) -> str:
        upstream = None if spoiled else checks.culprit(history, came)
        return upstream or history[-1].agent


def _fails(turn: Turn) -> bool:
    return turn.result is not None and turn.result.status != "ok"


def _ran(turn: Turn) -> str:
    """What came of the turn's code, in a few words."""
    if turn.code is None:
        return "no code"
    if turn.result is None:
        return "code did not run"
    if turn.result.status == "ok":
        return "code ran"
    last = [line.strip() for line in turn.result.stderr.splitlines() if line.strip()][-1:]
    return f"code ended with {turn.result.status}" + "".join(f" ({_short(line)})" for line in last)


def _short(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"

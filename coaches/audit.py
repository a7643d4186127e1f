"""A coach that looks for itself: it examines what each turn left, in a sandbox of its own, and blames with
proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coaches.audits.examiner import Examiner
from coaches.audits.findings import Finding, first
from coaches.audits.settings import Auditing
from coaches.base import Unit, Verdict
from coaches.evidence import checks, lineage
from coaches.judging.inner import LearningInside, build_coach, check_ready
from coaches.judging.verdicts import judge_episode, total_cost
from conf.ranges import Positive, Score
from envs.types import Outcome, Turn


class Audit(LearningInside):
    """Revises the verdicts of another coach by what it finds in files, programs and printed values.

    Findings (``coaches.audits``) are contradictions: a table whose rows are in another order than those of
    the task, a feature that is the target, a submission that does not follow from the model. The turn behind
    the first proven one gets at most ``proof`` and is blamed; a further one gets ``further``, as does what
    the agent to blame did afterwards, at least. Later turns of others that ran into the fault score at least
    ``harmed`` and blame its agent; what failed for reasons of its own keeps its verdict. A failed attempt
    that was repaired within its stage gets at least ``attempt``, without blame. If nothing is proven and the
    episode failed, the first doubt is blamed, or else the turn that explains the failure
    (``coaches.evidence.lineage``), with at most ``guess``.

    The files are those that the run kept (``History.store``), or come from running the programs of the record
    again (``coaches.replay.programs``); where neither can be had, texts and checks alone are audited, and the
    rationale says so.
    """

    judges: Unit = "episodes"
    reads_files = True

    @dataclass(frozen=True)
    class Config:
        coach: Any
        """The coach whose verdicts are revised: a coach node."""
        proof: Score
        """Highest score of the turn behind the first proven finding."""
        further: Score
        """Highest score of a turn with a later one, and lowest of what the agent to blame did afterwards."""
        guess: Score
        """Highest score of a turn that is suspected without proof after a failure."""
        harmed: Score
        """Lowest score of later turns of other agents that ran into what somebody is blamed for."""
        attempt: Score
        """Lowest score of an attempt that its agent repaired later."""
        env: list[Any]
        """Nodes of the environments that may have a recorded episode's task."""
        sandbox: Any
        """The node of the sandbox backend for audits and programs."""
        timeout: Positive
        """Seconds for the audits of one moment."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` if the inner coach cannot be built."""
        self.config = config
        self.coach = build_coach(config.coach)
        self.examiner = Examiner(Auditing(config.env, config.sandbox, config.timeout))

    def check_ready(self) -> None:
        """Lets the inner coach check what it needs; raises as ``DependentPart.check_ready``."""
        check_ready(self.coach)

    def close(self) -> None:
        """Ends the sandboxes of audits and programs, if any were opened."""
        self.examiner.close()

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """Returns one verdict per turn; None where the inner coach has none.

        Raises:
            AuditSandboxError: the sandbox of the audits could not be opened.
        """
        inner = [one.verdict for one in judge_episode(self.coach, turns, outcome, threads=1)]
        findings, note = self.findings(turns, outcome)
        culprit = _culprit(turns, outcome, findings)
        return [
            None if verdict is None else self._revised(turns, turn, verdict, findings, culprit, note)
            for turn, verdict in zip(turns, inner, strict=True)
        ]

    def findings(self, turns: Sequence[Turn], outcome: Outcome) -> tuple[list[Finding], str]:
        """Returns what the audits find, and what was not audited. Raises as ``judge_episode``."""
        return self.examiner.findings(turns, outcome)

    def _revised(
        self, turns: Sequence[Turn], turn: Turn, verdict: Verdict, findings: list[Finding],
        culprit: Finding | None, note: str,
    ) -> Verdict:  # fmt: skip
        config, own = self.config, [one for one in findings if one.turn == turn.index]
        score, blame, reason = verdict.score, verdict.blame, verdict.rationale
        if culprit is not None:
            agent = turns[culprit.turn].agent
            if culprit.turn == turn.index:
                score, blame = (
                    min(score, config.proof if culprit.strength == "proof" else config.guess),
                    agent,
                )
                reason = f"{culprit.audit}: {culprit.text}; {reason}"
            elif any(one.strength == "proof" for one in own):
                score, blame = min(max(score, config.further), config.further), turn.agent
            elif _harmed(turns, turn, verdict, culprit):
                score, blame = max(score, config.harmed), agent if blame is not None else None
            elif turn.index > culprit.turn and turn.agent == agent:
                score = max(score, config.further)  # leaving a fault as it is, is no worse than making it
        if blame == turn.agent and not own and _repaired(turns, turn):
            score, blame = max(score, config.attempt), None
            reason += "; repaired later"
        others = [one for one in own if one is not culprit]
        reason = "; ".join([*(f"{one.audit}: {one.text}" for one in others), reason])
        return Verdict(
            score, reason + note, blame, total_cost([verdict]), "audit", verdict.usage,
            verdict.blocked and not own, (verdict,),
        )  # fmt: skip


def _culprit(turns: Sequence[Turn], outcome: Outcome, findings: list[Finding]) -> Finding | None:
    if (proven := first(findings, "proof")) is not None:
        return proven
    if outcome.success:
        return None
    if (doubt := first(findings, "doubt")) is not None:
        return doubt
    guess = lineage.culprit(turns, outcome)
    return None if guess is None else Finding("lineage", guess.turn, "doubt", guess.reason)


def _harmed(turns: Sequence[Turn], turn: Turn, verdict: Verdict, culprit: Finding) -> bool:
    """Returns whether a turn may have failed by what another agent's earlier turn is blamed for: not by a
    program that is no Python, nor by giving up where the other coach blames its own agent for it."""
    if turn.index < culprit.turn or turn.agent == turns[culprit.turn].agent:
        return False
    acted = not turn.role.can_run_code or checks.valid_program(turn)
    return acted or (verdict.blame is not None and verdict.blame != turn.agent)


def _repaired(turns: Sequence[Turn], turn: Turn) -> bool:
    """Returns whether the stage of ``turn`` ended in order later: every product, or the last program."""
    later = [one for one in turns[turn.index + 1 :] if one.agent == turn.agent]
    if not later:
        return False
    if turn.role.produces:
        return all(code == "ok" for code in checks.product_codes(later[-1]).values())
    ran = [one.result for one in later if one.result is not None]
    return bool(ran) and ran[-1].status == "ok"

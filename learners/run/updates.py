"""The update of every policy on a step's rows, of which all agents' advantages are computed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from learners.algorithms import contract
from learners.run.tokens import TokenLog, TokenRow
from learners.runtimes.base import Parts
from learners.types import Metrics, TokenTerms, Transition

Rows = Mapping[str, Sequence[int]]
"""Policy -> the places of the transitions that it sampled."""
Advantages = Sequence[list[float] | None]


def update_all(
    parts: Parts, transitions: Sequence[Transition], step: int, tokens: TokenLog | None = None
) -> Metrics:
    """Updates every policy on its rows of ``step``; ``tokens`` records what that made of single tokens.

    Returns:
        ``trained``, the share of the rows that were trained on, and of each policy what ``Learner.update``
        returns, as ``<metric>/<policy>``.
    """
    algorithm, policies = parts.algorithm, parts.policies
    rows = {name: _rows(parts, transitions, name) for name in policies}
    if algorithm.needs_reference:
        transitions = _with_reference(parts, transitions, rows)
    # All agents' rows at once: returns cross agents (credit=team) and statistics are over the whole
    # batch, so advantages are computed before rows are split among policies and ranks.
    advantages = contract.advantages(algorithm, transitions)
    learning = sum(transition.learns for transition in transitions)
    trained = sum(row is not None for row in advantages) / max(1, learning)
    terms: dict[str, dict[int, TokenTerms] | None] = {name: None if tokens is None else {} for name in rows}

    def learn(name: str) -> Metrics:
        own = [transitions[i] for i in rows[name]], [advantages[i] for i in rows[name]]
        return policies[name].update(*own, algorithm, terms[name])

    updates = parts.runtime.each(learn, policies)
    if tokens is not None:
        known = {name: own or {} for name, own in terms.items()}
        tokens.write(step, _token_rows(parts, transitions, advantages, rows, known, tokens))
    return {"trained": trained} | {
        f"{key}/{name}": value
        for name, update in zip(policies, updates, strict=True)
        for key, value in update.items()
    }


def _rows(parts: Parts, transitions: Sequence[Transition], policy: str) -> list[int]:
    """Returns the places of the transitions that ``policy`` sampled."""
    return [i for i, one in enumerate(transitions) if parts.team[one.turn.agent].name == policy]


def _with_reference(parts: Parts, transitions: Sequence[Transition], rows: Rows) -> list[Transition]:
    """Returns the transitions with ``ref_logprobs``, those of each learning policy's frozen reference."""
    policies, complete = parts.policies, list(transitions)

    def reference(name: str) -> list[tuple[float, ...]]:
        return policies[name].reference_logprobs([transitions[i].completion for i in rows[name]])

    for name, logprobs in zip(policies, parts.runtime.each(reference, policies), strict=True):
        for i, row in zip(rows[name], logprobs, strict=True):
            complete[i] = replace(transitions[i], ref_logprobs=row)
    return complete


def _token_rows(
    parts: Parts,
    transitions: Sequence[Transition],
    advantages: Advantages,
    rows: Rows,
    terms: Mapping[str, Mapping[int, TokenTerms]],
    tokens: TokenLog,
) -> list[TokenRow]:
    """Returns the rows that ``tokens`` wants, in the order of play."""
    policies, wanted = parts.policies, tokens.wanted(transitions)
    own = {name: [i for i in rows[name] if transitions[i].episode in wanted] for name in rows}
    texts = parts.runtime.each(
        lambda name: policies[name].texts([transitions[i].completion for i in own[name]]), policies
    )
    made: dict[int, TokenRow] = {}
    for name, spelled in zip(policies, texts, strict=True):
        trained = [i for i in rows[name] if advantages[i] is not None]
        of = {trained[number]: one for number, one in terms[name].items()}
        for i, text in zip(own[name], spelled, strict=True):
            made[i] = TokenRow(transitions[i], text, advantages[i], of.get(i))
    return [made[i] for i in sorted(made)]

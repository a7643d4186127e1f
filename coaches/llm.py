"""A language model as the coach (MAPPA, arXiv 2601.23228), behind any OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from coaches.base import History, Verdict
from coaches.client.budget import Ledger, Prices
from coaches.client.cache import VerdictCache, digest
from coaches.client.config import EndpointConfig
from coaches.client.openai_client import Answer, Endpoint
from coaches.prompting import delimiters, parse, prompt
from coaches.prompting.prompt import Sizes
from conf import ConfigError, cache_dir
from envs.types import Turn

T = TypeVar("T")
ANSWER_SETTINGS = ("base_url", "model", "temperature", "max_tokens", "extra", "structured")
"""Settings of the endpoint that an answer depends on: part of the cache's key."""


class LLM:
    """Shows a model the turn in its context, and reads one score, a rationale and a blame from its reply.

    What the agents, their programs and the task wrote is sent as marked data (``coaches.prompting.delimiters``). A reply
    that is no verdict, or none that comes in time, raises: there is no fallback score. Verdicts are cached by
    content; the marks are no part of that. Safe for many threads, which share one event loop's requests.
    """

    @dataclass(frozen=True)
    class Config:
        prompt: str
        """A file in ``coaches/prompting/prompts`` by name, a path of your own, or ``auto``: by the role that acted."""
        sees_answer: bool
        """Whether the model is shown the task's answer; only where answers are text."""
        sizes: Sizes
        endpoint: EndpointConfig
        prices: Prices
        max_cost: float | None
        """US dollars that one process may spend on verdicts; None: no limit."""
        cache: bool
        """Whether verdicts are kept and taken again."""
        cache_dir: str | None
        """None: ``$COACHGYM_CACHE/verdicts``, else ``~/.cache/coachgym/verdicts``."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` for settings that cannot be, a missing key, or an unwritable cache."""
        self.config = config
        self.ledger = Ledger(config.prices, config.max_cost)
        self.endpoint = Endpoint(config.endpoint, self.ledger)
        self._prompts = prompt.Prompts(config.prompt)
        folder = Path(config.cache_dir).expanduser() if config.cache_dir else cache_dir() / "verdicts"
        self._cache = VerdictCache(folder if config.cache else None)

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """The model's verdict on the last turn of ``history``.

        Raises:
            CoachError: one of ``coaches.client.errors``: no verdict could be had.
            BudgetError: reaching it could cost more than is left of ``max_cost``.
            ConfigError: ``sees_answer``, and the turns come without an answer, or with one that is no text.
        """
        rules = self._prompts.rules(history[-1].role.name)
        question = prompt.question(rules, history, self.config.sizes, self._answer(history))
        agents = list(dict.fromkeys(turn.agent for turn in history))
        return self._cache.once(self._key(question, agents), lambda: self._ask(question, agents))

    def ask(
        self, question: prompt.Question, schema: Mapping[str, Any], read: Callable[[str], T]
    ) -> Answer[T]:
        """Any other question, for a coach that has one (``coaches.client.chat``). Nothing of it is cached.

        Raises:
            CoachError: one of ``coaches.client.errors``: there is no reply that ``read`` can read.
            BudgetError: a request could pass ``max_cost``.
        """
        whole = dict(schema)
        return self.endpoint.ask(question.messages(delimiters.new_nonce()), (whole, whole, None), read)

    def _ask(self, question: prompt.Question, agents: list[str]) -> Verdict:
        bounded = parse.schema(agents, bounded=True)
        answer = self.endpoint.ask(
            question.messages(delimiters.new_nonce()),
            (parse.schema(agents, bounded=False), bounded, None),
            lambda reply: parse.judgement(reply, agents),
        )
        said = answer.value
        return Verdict(said.score, said.rationale, said.blame, answer.cost, "llm", answer.usage)

    def _key(self, question: prompt.Question, agents: list[str]) -> str:
        """All that the answer depends on but chance, and no marks, which are drawn anew for each call."""
        settings = asdict(self.config.endpoint)
        return digest(
            {
                "endpoint": {name: settings[name] for name in ANSWER_SETTINGS},
                "messages": [asdict(message) for message in question.messages(delimiters.BLANK)],
                "schema": parse.schema(agents, bounded=True),
            }
        )

    def _answer(self, history: Sequence[Turn]) -> str | None:
        if not self.config.sees_answer:
            return None
        if not isinstance(history, History):
            raise ConfigError("coach llm: sees_answer, but these turns come without their task's answer")
        return prompt.answer_text(history.answer)

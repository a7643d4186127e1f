"""A language model as the coach (MAPPA, arXiv 2601.23228), behind any OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from coaches.audits.settings import Auditing
from coaches.base import History, Sees, Sight, Verdict
from coaches.client.budget import Ledger, Prices
from coaches.client.cache import VerdictCache, digest
from coaches.client.config import EndpointConfig
from coaches.client.openai_client import Endpoint, ParsedReply
from coaches.prompting import delimiters, parse, prompt
from coaches.prompting.prompt import Sizes
from conf import ConfigError, cache_dir
from conf.ranges import Positive
from envs.types import Outcome, Turn

if TYPE_CHECKING:
    from coaches.audits.examiner import Examiner

T = TypeVar("T")
REPLY_SETTINGS = ("base_url", "model", "temperature", "max_tokens", "extra", "structured")
"""Settings of the endpoint that a reply depends on: part of the cache key."""


class LLM:
    """Shows a model the turn in its context and reads a score, a rationale and a blame from its reply.

    Text of agents, of their programs and of the task is sent between delimiters
    (``coaches.prompting.delimiters``). If no reply is a verdict, or none arrives in time, it raises: there is
    no fallback score. Verdicts are cached by content; the delimiters are not part of the key. Thread-safe:
    all threads share one event loop.
    """

    @dataclass(frozen=True)
    class Config:
        prompt: str
        """The name of a file in ``coaches/prompting/prompts``, a path, or ``auto``: by the role that
        acted."""
        sees: Any
        """What the model is shown besides the turns: ``none``, ``answer`` (the task's true answer, where that
        is text) or ``outcome`` (what the grader says of the team's result after the turn); or a mapping from
        agents to these, with ``none`` for the others."""
        sees_audits: bool
        """Whether the model is also shown what audits of files and programs found so far
        (``coaches.audits``)."""
        auditing: Auditing
        """Where those run; without them, nothing is started."""
        sizes: Sizes
        endpoint: EndpointConfig
        prices: Prices
        max_cost: Positive | None
        """US dollars that one process may spend on verdicts; None: no limit."""
        cache: bool
        """Whether verdicts are stored and reused."""
        cache_dir: str | None
        """None: ``$COACHGYM_CACHE/verdicts``, or ``~/.cache/coachgym/verdicts``."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` for invalid settings, a missing API key, or an unwritable cache."""
        self.config = config
        self.ledger = Ledger(config.prices, config.max_cost)
        self.endpoint = Endpoint(config.endpoint, self.ledger)
        self.sees = (_sees(config.sees),)
        self.reads_files = config.sees_audits
        self._examiner = _examiner(config.auditing) if config.sees_audits else None
        self._prompts = prompt.Prompts(config.prompt)
        folder = Path(config.cache_dir).expanduser() if config.cache_dir else cache_dir() / "verdicts"
        self._cache = VerdictCache(folder if config.cache else None)

    def check_ready(self) -> None:
        """Asks the server for one short reply. Raises ``ConfigError`` if there is none, and says why."""
        self.endpoint.probe()

    def close(self) -> None:
        """Ends the sandboxes of audits, if any were opened."""
        if self._examiner is not None:
            self._examiner.close()

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """Returns the model's verdict on the last turn of ``history``.

        Raises:
            CoachError: there is no verdict; one of ``coaches.client.errors``.
            BudgetError: a request could cost more than is left of ``max_cost``.
            ConfigError: the turns come without what ``sees`` says, or with an answer that is not text.
        """
        rules = self._prompts.rules(history[-1].role.name)
        audits = None if self._examiner is None else self._examiner.findings(history, None)
        question = prompt.question(rules, history, self.config.sizes, *self._seen(history), audits)
        agents = list(dict.fromkeys(turn.agent for turn in history))
        return self._cache.once(self._key(question, agents), lambda: self._ask(question, agents))

    def ask(
        self, question: prompt.Question, schema: Mapping[str, Any], read: Callable[[str], T]
    ) -> ParsedReply[T]:
        """Asks another coach's question, as a ``coaches.prompting.chat.ChatModel``. Nothing is cached.

        Raises:
            CoachError: there is no reply that ``read`` can use; one of ``coaches.client.errors``.
            BudgetError: a request could exceed ``max_cost``.
        """
        whole = dict(schema)
        return self.endpoint.ask(question.messages(delimiters.new_nonce()), (whole, whole, None), read)

    def _ask(self, question: prompt.Question, agents: list[str]) -> Verdict:
        bounded = parse.schema(agents, bounded=True)
        parsed = self.endpoint.ask(
            question.messages(delimiters.new_nonce()),
            (parse.schema(agents, bounded=False), bounded, None),
            lambda reply: parse.judgement(reply, agents),
        )
        judgement = parsed.value
        return Verdict(
            judgement.score, judgement.rationale, judgement.blame, parsed.cost, "llm", parsed.usage
        )

    def _key(self, question: prompt.Question, agents: list[str]) -> str:
        """Returns the cache key: everything that the reply depends on, except the delimiters, which differ in
        every call."""
        settings = asdict(self.config.endpoint)
        return digest(
            {
                "endpoint": {name: settings[name] for name in REPLY_SETTINGS},
                "messages": [asdict(message) for message in question.messages(delimiters.BLANK)],
                "schema": parse.schema(agents, bounded=True),
            }
        )

    def _seen(self, history: Sequence[Turn]) -> tuple[str | None, Outcome | None]:
        """Returns the answer and the outcome, each None if the model does not see it."""
        turn = history[-1]
        sight = self.sees[0].of(turn.agent)
        if sight == "none":
            return None, None
        if sight == "answer" and isinstance(history, History):
            return prompt.answer_text(history.answer), None
        if sight == "outcome" and isinstance(history, History) and turn.index in history.outcomes:
            return None, history.outcomes[turn.index]
        raise ConfigError(
            f"coach llm: sees is {sight} for {turn.agent}, but these turns come without the {sight}"
        )


def _examiner(config: Auditing) -> Examiner:
    from coaches.audits.examiner import Examiner  # which imports pandas

    return Examiner(config)


def _sees(setting: Any) -> Sees:
    named: dict[str, Any] = dict(setting) if isinstance(setting, Mapping) else {}
    others: Any = "none" if isinstance(setting, Mapping) else setting
    for sight in (*named.values(), others):
        if sight not in get_args(Sight):
            words = ", ".join(get_args(Sight))
            raise ConfigError(
                f"coach llm: sees must be one of {words}, or name agents with them; got {sight!r:.60}"
            )
    return Sees(named, others)

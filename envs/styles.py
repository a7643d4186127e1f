"""The styles of observations: ``compact`` (``envs.observations``), and ``full`` (``envs.full``).

``compact`` states facts in headings, for a policy that reads nothing else; ``full`` is written for language
models, and is the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from conf import ConfigError
from envs import full, observations
from envs.base import Scenario
from envs.episode.sessions import shares_interpreter
from envs.full.terms import Terms
from envs.types import Message, Task, Turn
from sandbox.base import Backend, Limits
from sandbox.host.libraries import STANDARD

STYLES = ("compact", "full")
DEFAULT = "full"

Writer = Callable[[Task, Sequence[Turn], str, Sequence[Message]], tuple[Message, ...]]
"""(task, turns so far, agent, the first messages if they are known) -> what the agent reads: a pure function.

Once an agent has acted, its messages only grow."""


class Reader:
    """Writes the observations of one episode, each message once: turns, which keep what was read, share
    them."""

    def __init__(self, write: Writer, task: Task) -> None:
        self._write, self._task = write, task
        self._last: dict[str, tuple[Sequence[Turn], tuple[Message, ...]]] = {}
        """Agent -> what it read last, and after which turns."""

    def read(self, turns: Sequence[Turn], agent: str) -> tuple[Message, ...]:
        """Returns what ``agent`` reads after ``turns``."""
        before, known = self._last.get(agent, ((), ()))
        if known and before is turns:
            return known
        first = next((place for place, turn in enumerate(turns) if turn.agent == agent), None)
        if first is None or len(before) < first:  # agents before it have acted since
            known = ()
        messages = self._write(self._task, turns, agent, known)
        self._last[agent] = turns, messages
        return messages


def check_style(setting: str, style: str) -> None:
    """Raises ``ConfigError`` unless ``style``, the value of ``setting``, is one of ``STYLES``."""
    if style not in STYLES:
        raise ConfigError(f"{setting} must be {' or '.join(STYLES)}; got {style!r}")


def style_of(scenario: Scenario) -> str:
    """Returns the style in which ``scenario`` wants its observations: ``full`` if it does not say."""
    style: str = getattr(scenario, "style", DEFAULT)
    return style


def writer(scenario: Scenario, backend: Backend, limits: Limits, output_chars: int) -> Writer:
    """Returns what writes the observations of ``scenario`` in sandboxes of ``backend`` with ``limits``."""
    if style_of(scenario) == "compact":
        return partial(observations.conversation, scenario, output_chars=output_chars)
    return partial(full.conversation, scenario, _terms(scenario, backend, limits, output_chars))


def _terms(scenario: Scenario, backend: Backend, limits: Limits, output_chars: int) -> Terms:
    return Terms(
        timeout=scenario.timeout,
        limits=limits,
        libraries=(*_standard(backend.versions), *scenario.libraries),
        network="net" not in backend.guarantees,
        output_chars=output_chars,
        shared=shares_interpreter(scenario),
        reply_tokens=getattr(scenario, "reply_tokens", None),
    )


def _standard(versions: Mapping[str, str]) -> list[str]:
    """Returns Python and the libraries that programs import directly: backends list those behind them, too,
    and those of a scenario only once a sandbox is open."""
    names = {"python": "Python"} | {name: name for name in STANDARD}
    return [f"{name} {versions[key]}" for key, name in names.items() if key in versions]

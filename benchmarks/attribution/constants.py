"""What one guesses without reading a word: the least that a coach has to find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from benchmarks.attribution.runs import Guess, Run

Guesser = Callable[[Run], Guess]
TOP = 3


def constants(runs: Sequence[Run]) -> Mapping[str, Guesser]:
    """Returns name -> guesser. ``runs``: all of a part; the best constant step is chosen on them, labels
    included, which no coach can."""
    best = [message for message, _ in Counter(run.message for run in runs).most_common(TOP)]
    return {
        "always step 1": lambda run: _at(run, range(1, TOP + 1)),
        f"best constant step ({best[0]})": lambda run: _at(run, best),
        "most talkative agent": _most_talkative,
        "last speaker": lambda run: _at(run, list(reversed(run.messages))[:TOP]),
        "random turn": lambda run: Guess(tuple(turn.agent for turn in run.episode.turns), (run.messages,)),
    }


def _at(run: Run, messages: Sequence[int]) -> Guess:
    speaker = run.speaker(messages[0])
    return Guess(() if speaker is None else (speaker,), tuple((message,) for message in messages))


def _most_talkative(run: Run) -> Guess:
    """The agents with the most turns, and any of their turns."""
    counts = Counter(turn.agent for turn in run.episode.turns)
    agents = tuple(agent for agent, count in counts.items() if count == max(counts.values()))
    spoken = zip(run.messages, run.episode.turns, strict=True)
    return Guess(agents, (tuple(place for place, turn in spoken if turn.agent in agents),))

"""The spans of one trace and what they are in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from coaches.traces.spans import Span


class Tree:
    """A trace. Parents may be absent, as in a file that has a part of it, and even go round in a circle."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = tuple(spans)
        self.by_id = {span.id: span for span in spans}

    def around(self, span: Span) -> Iterator[Span]:
        """Yields the span and those that it is in, the innermost first."""
        seen: set[str] = set()
        inner: Span | None = span
        while inner is not None and inner.id not in seen:
            seen.add(inner.id)
            yield inner
            inner = self.by_id.get(inner.parent)

    def nearest(self, span: Span, wanted: Callable[[Span], bool]) -> Span | None:
        """Returns the innermost ``wanted`` span that ``span`` is or is in."""
        return next(filter(wanted, self.around(span)), None)

    def topmost(self, span: Span, wanted: Callable[[Span], bool]) -> str:
        """Returns the id of the outermost ``wanted`` span that ``span`` is or is in; "" if there is none."""
        found = list(filter(wanted, self.around(span)))
        return found[-1].id if found else ""

"""Draws what a synthetic task is like: its columns, how they make the target, and what is hard about it."""

from __future__ import annotations

from dataclasses import dataclass

from envs.dsbench.synthetic.settings import Synthetic
from envs.dsbench.synthetic.stream import ONE, Stream

KINDS = (
    ("binary", "roc_auc"),
    ("regression", "rmse"),
    ("multiclass", "accuracy"),
    ("regression", "mae"),
    ("binary", "accuracy"),
    ("regression", "r2"),
    ("multiclass", "f1_macro"),
    ("regression", "rmsle"),
    ("binary", "log_loss"),
    ("regression", "medae"),
)
"""Task types and metrics, in turn: half of the tasks classify."""
_THINGS = (
    ("parcel", "delivery", "hours"), ("orchard", "harvest", "yield"), ("engine", "test", "wear"),
    ("loan", "contract", "arrears"), ("beehive", "colony", "strength"), ("ferry", "crossing", "delay"),
    ("kiln", "firing", "loss"), ("well", "sample", "turbidity"), ("call", "queue", "waiting"),
    ("glider", "flight", "sink"), ("mill", "batch", "grade"), ("lift", "ride", "load"),
)  # fmt: skip
_NUMBERS = (
    "age", "angle", "area", "charge", "density", "depth", "flow", "height", "humidity", "length", "level",
    "mass", "pitch", "pressure", "ratio", "speed", "stock", "tension", "voltage", "width",
)  # fmt: skip
_TEXTS = ("site", "supplier", "colour", "crew", "model", "channel", "material", "shift")
_LEVELS = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "juniper", "krill",
    "larch",
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A column of numbers: ``offset + spread * z`` with ``digits`` decimals, z standard normal, or its square
    if ``skewed``."""

    name: str
    offset: int
    spread: int
    digits: int
    weight: int
    """Effect on the target of one standard deviation; 0: none."""
    skewed: bool
    missing: int
    """Missing cells per thousand."""


@dataclass(frozen=True)
class Category:
    """A column of texts, each with its effect on the target."""

    name: str
    levels: tuple[str, ...]
    effects: tuple[int, ...]
    missing: int


@dataclass(frozen=True)
class Recipe:
    """What a task is like. Effects are in units of ``stream.ONE``."""

    id: str
    task_type: str
    metric: str
    subject: tuple[str, str, str]
    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    date: tuple[int, ...]
    """The effect of each of the twelve months; empty: there is no date."""
    interaction: tuple[int, int, int]
    """Two number columns and the effect of their product."""
    step: tuple[int, int]
    """A number column, and the effect of being above its mean."""
    shares: tuple[int, ...]
    """Percent of the rows in each class, in the order of the target; empty for regression."""
    leak: str
    """Name of the leaking column; "" if there is none."""

    @property
    def target(self) -> str:
        return self.subject[2]


def draw(settings: Synthetic, name: str, number: int) -> Recipe:
    """Returns the recipe of task ``name``, the ``number``-th of its split."""

    def stream(purpose: str) -> Stream:
        return Stream(settings.seed, name, purpose)

    task_type, metric = KINDS[number % len(KINDS)]
    missing = stream("missing?").happens(settings.missing)
    numbers = _numbers(stream("numbers"), stream("missing"), missing)
    has_text = stream("categories?").happens(settings.categories)
    pick = stream("interplay")
    first, second = pick.sample(range(len(numbers)), 2)
    dated = stream("dates?").happens(settings.dates)
    leaks = stream("leaks?").happens(settings.leaks)
    return Recipe(
        id=name,
        task_type=task_type,
        metric=metric,
        subject=stream("subject").choice(_THINGS),
        numbers=numbers,
        categories=_categories(stream("categories"), missing) if has_text else (),
        date=_months(stream("dates")) if dated else (),
        interaction=(first, second, pick.choice((-1, 1)) * pick.integer(ONE // 4, ONE)),
        step=(pick.integer(0, len(numbers) - 1), pick.choice((-1, 1)) * pick.integer(ONE // 2, 3 * ONE // 2)),
        shares=_shares(task_type, stream("classes"), stream("imbalance?").happens(settings.imbalance)),
        leak=stream("leak").choice(("audit_code", "final_reading", "closing_entry")) if leaks else "",
    )


def _numbers(draws: Stream, gaps: Stream, missing: bool) -> tuple[Number, ...]:
    count = draws.integer(4, 7)
    useless = draws.integer(1, count - 3)
    columns = []
    for place, name in enumerate(draws.sample(_NUMBERS, count)):
        weight = draws.choice((-1, 1)) * draws.integer(ONE // 2, 2 * ONE)
        columns.append(
            Number(
                name=name,
                offset=draws.integer(-50, 500),
                spread=draws.integer(1, 60),
                digits=draws.integer(0, 3),
                weight=0 if place < useless else weight,
                skewed=draws.happens(0.25),
                missing=_share_missing(gaps, always=place == 0) if missing else 0,
            )
        )
    return tuple(columns)


def _share_missing(gaps: Stream, *, always: bool) -> int:
    share = gaps.integer(20, 250)
    return share if gaps.happens(0.5) or always else 0


def _categories(draws: Stream, missing: bool) -> tuple[Category, ...]:
    columns = []
    for name in draws.sample(_TEXTS, draws.integer(1, 2)):
        levels = tuple(draws.sample(_LEVELS, draws.integer(3, 6)))
        effects = tuple(int(effect) for effect in draws.integers(-2 * ONE, 2 * ONE, len(levels)))
        columns.append(Category(name, levels, effects, _share_missing(draws, always=False) if missing else 0))
    return tuple(columns)


def _months(draws: Stream) -> tuple[int, ...]:
    """Returns the effects of a season: a triangle that peaks in one month."""
    peak, height = draws.integer(0, 11), draws.integer(ONE, 3 * ONE)
    return tuple(height * (3 - min((month - peak) % 12, (peak - month) % 12)) // 3 for month in range(12))


def _shares(task_type: str, draws: Stream, rare: bool) -> tuple[int, ...]:
    top, middle, count = draws.integer(8, 14), draws.integer(14, 22), draws.integer(3, 4)
    if task_type == "regression":
        return ()
    if task_type == "binary":
        return (100 - top, top) if rare else (58 - top // 2, 42 + top // 2)
    if rare:
        return (100 - middle - top, middle, top)
    return (34, 33, 33) if count == 3 else (25, 25, 25, 25)

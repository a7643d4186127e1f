"""Which file of a team is what, by the artifacts of its roles: no audit knows a file by its name."""

from __future__ import annotations

from collections.abc import Sequence

from coaches.audits.guest.tables import Names
from envs.types import Role, Turn
from sandbox.artifacts import ArtifactSpec


def names(turns: Sequence[Turn]) -> Names | None:
    """Returns the names of a table task's files; None for a team that hands over no features and target."""
    roles = list({turn.agent: turn.role for turn in turns}.values())
    specs = [spec for role in roles for spec in (*role.produces, *role.requires)]
    test_features = _first(specs, lambda spec: spec.kind == "table" and spec.columns_of is not None)
    features = None if test_features is None else _named(specs, test_features.columns_of)
    target = _first(specs, lambda spec: spec.kind == "vector")
    if features is None or test_features is None or target is None:
        return None
    if features.rows_of is None or test_features.rows_of is None:
        return None
    model = _first(specs, lambda spec: spec.kind == "estimator")
    submission = _first(_produced(roles), lambda spec: spec.kind == "csv")
    return Names(
        train=features.rows_of,
        test=test_features.rows_of,
        features=features.name,
        target=target.name,
        test_features=test_features.name,
        model="" if model is None else model.name,
        submission="" if submission is None else submission.name,
    )


def maker(turns: Sequence[Turn], name: str) -> str:
    """Returns the agent whose duty an artifact is; "" if it is nobody's."""
    return next((turn.agent for turn in turns if name in {spec.name for spec in turn.role.produces}), "")


def _produced(roles: Sequence[Role]) -> list[ArtifactSpec]:
    return [spec for role in roles for spec in role.produces]


def _named(specs: Sequence[ArtifactSpec], name: str | None) -> ArtifactSpec | None:
    return _first(specs, lambda spec: spec.name == name)


def _first(specs: Sequence[ArtifactSpec], fits: object) -> ArtifactSpec | None:
    return next((spec for spec in specs if fits(spec)), None)  # type: ignore[operator]

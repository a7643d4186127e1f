"""A backend for environments in which no program runs."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes import FakeBackend


class Nowhere(FakeBackend):
    @dataclass
    class Config:
        pass

    def __init__(self, config: Config) -> None:
        super().__init__(broken=True)

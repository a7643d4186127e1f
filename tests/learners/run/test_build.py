"""Building a run keeps what it loads out of the garbage collector's way, until it is closed."""

from __future__ import annotations

import gc
from pathlib import Path

from learners.config import RunConfig
from learners.run.build import build
from tests.learners.parts.settings import settings


def test_what_is_loaded_is_not_looked_through_again_until_the_parts_are_closed(tmp_path: Path) -> None:
    gc.unfreeze()
    parts = build(RunConfig.read(settings(tmp_path / "run")))
    assert gc.get_freeze_count() > 10_000
    assert all(each is not parts.generator for each in gc.get_objects())
    parts.close()
    assert gc.get_freeze_count() == 0

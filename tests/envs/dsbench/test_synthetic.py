"""The synthetic family: deterministic, with the properties that are asked for, and with known truth."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import conf
from conf import ConfigError
from conf.commands import compose
from envs.dsbench import DSBench, metrics
from envs.dsbench.answer import read_answer
from envs.dsbench.spec import Table
from envs.dsbench.synthetic import Synthetic, recipe, synthetic
from envs.dsbench.synthetic.files import write
from envs.dsbench.synthetic.rows import fixed
from envs.dsbench.synthetic.stream import ONE, Stream

USUAL = Synthetic(
    *(0, 10, 2, 100, 60), missing=0.5, categories=0.6, dates=0.3, leaks=0.1, imbalance=0.3, noise=0.2
)
NUMBERS = [11, 94, 80, 20, 6, 74]
GOLDEN = ["239c95972b4e1971", "b60fc2e707cb2de8", "ed1996f70f0fb8d4"]
NONE = replace(USUAL, missing=0.0, categories=0.0, dates=0.0, leaks=0.0, imbalance=0.0)
ALL = replace(USUAL, missing=1.0, categories=1.0, dates=1.0, leaks=1.0, imbalance=1.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COACHGYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tables(settings: Synthetic) -> list[Table]:
    return [candidate.load() for candidate in synthetic(settings)]


def frames(table: Table) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Training table, test table with its target, and the truth of the test rows."""
    train, test, answer, truth = (
        pd.read_csv(path)
        for path in (table.train, table.test, table.answer, table.answer.parent / "truth.csv")
    )
    return train, test.merge(answer, on="id", validate="1:1"), truth


def digest(folder: Path) -> str:
    names = ("answer.csv", "sample_submission.csv", "test.csv", "train.csv", "truth.csv", "truth.json")
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()[:16]


def test_the_same_settings_give_the_same_bytes_on_every_machine(tmp_path: Path) -> None:
    found = []
    for number, settings in enumerate((USUAL, ALL, replace(USUAL, seed=2**63 - 1))):
        write(settings, f"synthetic_{number}", "train", number, tmp_path / str(number))
        found.append(digest(tmp_path / str(number)))
    assert found == GOLDEN


def test_numbers_do_not_depend_on_numpys_distributions() -> None:
    stream = Stream(7, "task", "purpose")
    assert stream.integers(0, 99, 6).tolist() == NUMBERS
    bell = Stream(7, "task", "bell").bell(20_000)
    assert abs(int(bell.mean())) < ONE // 50
    assert abs(float(bell.std()) / ONE - 1.0) < 0.02
    assert sorted(stream.permutation(50).tolist()) == list(range(50))
    assert [fixed(n, d) for n, d in ((-5, 2), (1234, 2), (7, 0), (0, 1))] == ["-0.05", "12.34", "7", "0.0"]


def test_more_tasks_change_no_other_task(cache: Path) -> None:
    few = {table.spec.id: digest(table.train.parent) for table in tables(USUAL)}
    more = {
        table.spec.id: digest(table.train.parent) for table in tables(replace(USUAL, train=12, heldout=3))
    }
    assert few.items() <= more.items()
    assert len(set(more.values())) == 15
    assert sorted(name.rpartition("_")[0] for name in more)[:3] == ["synthetic_0_heldout"] * 3


def test_every_task_can_be_scored_and_the_truth_is_far_better_than_a_constant() -> None:
    for table in tables(replace(ALL, leaks=0.0)):
        answer, spec = read_answer(table), table.spec
        assert spec.best is not None
        assert spec.baseline is not None
        assert abs(spec.best - metrics.perfect(spec.metric)) < abs(
            spec.baseline - metrics.perfect(spec.metric)
        )
        assert answer.constant < 0.95
        assert answer.ids_as_text is False


def test_without_noise_the_truth_is_the_answer() -> None:
    for table in tables(replace(NONE, noise=0.0)):
        _, test, truth = frames(table)
        target = table.spec.target_columns[0]
        assert test[["id", target]].equals(truth)
        assert table.spec.best == metrics.perfect(table.spec.metric)


@pytest.mark.parametrize(("settings", "has"), [(NONE, False), (ALL, True)])
def test_every_property_follows_its_setting(settings: Synthetic, has: bool) -> None:
    for table in tables(replace(settings, heldout=0)):
        train, test, _ = frames(table)
        features = test.drop(columns=["id", table.spec.target_columns[0]])
        texts = [name for name in features if not pd.api.types.is_numeric_dtype(features[name])]
        assert train[features.columns].isna().any(axis=None) == features.isna().any(axis=None) == has
        assert (len(texts) > ("date" in texts)) == has
        assert ("date" in texts) == has
        assert ("filled in when" in table.spec.description) == has
        if table.spec.task_type != "regression":
            assert (train[table.spec.target_columns[0]].value_counts(normalize=True).min() < 0.2) == has


def test_a_leaking_column_gives_the_target_away_in_training_rows_only() -> None:
    for number, table in enumerate(tables(replace(ALL, heldout=0))):
        drawn = recipe.draw(ALL, table.spec.id, number)
        train, test, _ = frames(table)
        target = table.spec.target_columns[0]
        pairs = train[[drawn.leak, target]].drop_duplicates()
        assert pairs[target].is_unique
        assert pairs[drawn.leak].is_unique
        known: dict[int, Any] = dict(pairs.itertuples(index=False))
        assert (test[drawn.leak].map(known) == test[target]).mean() < 0.9
        assert sorted(train["id"].tolist() + test["id"].tolist()) == list(range(1, 161))


def build(**settings: Any) -> DSBench:
    built = conf.build("envs", conf.load("env", "dsbench", **settings))
    assert isinstance(built, DSBench)
    return built


def test_synthetic_tasks_are_played_beside_bundled_ones() -> None:
    built = build(source="bundled+synthetic", synthetic={"train": 2, "heldout": 0})
    assert (len(built.tasks("train")), len(built.tasks("heldout"))) == (14, 8)
    task = next(task for task in built.tasks("train") if task.id == "synthetic_0_train_001")
    assert set(task.files) == {"train.csv", "test.csv", "sample_submission.csv"}
    assert "truth" not in task.prompt
    chosen = build(source="synthetic", tasks=["synthetic_0_heldout_001"])
    assert [task.id for task in chosen.tasks("heldout")] == ["synthetic_0_heldout_001"]


def test_the_experiment_has_a_hundred_training_tasks() -> None:
    env = compose(["experiment=dsbench_hundred"]).env
    assert env.source == "bundled+synthetic"
    assert env.synthetic.train + len(build().tasks("train")) == 100


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"source": "bundled+bundled"}, "source must be bundled, synthetic, official, local, or several"),
        ({"source": "synthetic+"}, "source must be"),
        (
            {"source": "synthetic", "tasks": ["synthetic_1_train_000"]},
            "unknown task ids: synthetic_1_train_000",
        ),
        ({"source": "synthetic+local"}, "source=local needs root"),
        ({"source": "synthetic", "synthetic": {"leaks": 1.5}}, "leaks must be at most 1, not 1.5"),
        ({"source": "synthetic", "synthetic": {"test_rows": 10}}, "test_rows must be at least 50, not 10"),
    ],
)
def test_mistakes_are_one_clear_line(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as error:
        build(**settings)
    assert "\n" not in str(error.value)


def test_a_cache_that_cannot_be_written_is_one_clear_line(cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot be written: .*COACHGYM_CACHE"):
        build(source="synthetic", synthetic={"train": 1, "heldout": 0})

"""Problems from the Hugging Face hub, which no test reaches: ``datasets`` is replaced."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

import conf
import envs
from envs.mathchat.sources import read
from tests.fakes import FakeBackend

ROWS = [
    {"ID": f"{1990 + n}-{n % 15 + 1}", "Year": 1990 + n, "Problem Number": n % 15 + 1, "Part": None}
    | {"Question": f"What is {n} + {n}?", "Answer": str(2 * n)}
    for n in range(8)
]


class Hub:
    """Stands for both packages: what is asked for, and what is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, splits: dict[str, list[dict[str, Any]]]) -> None:
        self.splits = splits
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        module = SimpleNamespace(load_dataset=self.load, __spec__=object())
        monkeypatch.setitem(sys.modules, "datasets", module)
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", self.info)

    def info(self, name: str, *, revision: str | None, timeout: float) -> None:
        self.asked.append(("info", name, revision))
        if self.error is not None:
            raise self.error

    def load(self, name: str, config: str | None, *, revision: str | None) -> dict[str, Any]:
        self.asked.append((name, config, revision))
        return self.splits


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(monkeypatch, {"train": ROWS})


def test_a_data_set_of_the_hub_is_played_like_a_file(hub: Hub) -> None:
    env = envs.make(
        "mathchat", sandbox=FakeBackend(), tasks="hf:gneubig/aime-1983-2024", years={"heldout": [1996, 1997]}
    )
    assert [task.id for task in env.scenario.tasks("heldout")] == [
        "aime-1983-2024/1996-7",
        "aime-1983-2024/1997-8",
    ]
    assert len(env.scenario.tasks("train")) == 6
    assert hub.asked == [
        ("info", "gneubig/aime-1983-2024", None),
        ("gneubig/aime-1983-2024", None, None),
    ]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("hf:a/b@v1.0", ("a/b", None, "v1.0")),
        ("hf:a/b:train", ("a/b", None, None)),
        ("hf:a/b@refs/pr/1:part-I:train", ("a/b", "part-I", "refs/pr/1")),
    ],
)
def test_revision_configuration_and_split_can_be_named(hub: Hub, name: str, asked: tuple[Any, ...]) -> None:
    assert read(name).stem == "b"
    assert hub.asked[-1] == asked


@pytest.mark.parametrize(
    "name", ["hf:", "hf:b", "hf:a/b/c", "hf:../b", "hf:a/b:c:d:e", "hf:a/b@", "hf:a/b c"]
)
def test_an_id_of_another_form_is_one_line(hub: Hub, name: str) -> None:
    with pytest.raises(conf.ConfigError, match="must be hf:OWNER/NAME"):
        read(name)
    assert not hub.asked


def test_a_split_has_to_be_named_where_there_are_several(hub: Hub) -> None:
    hub.splits = {"train": ROWS, "test": ROWS}
    with pytest.raises(
        conf.ConfigError, match=r"hf:a/b has several splits; name one of train, test: hf:a/b:train$"
    ):
        read("hf:a/b")
    with pytest.raises(conf.ConfigError, match="hf:a/b:dev has no split 'dev'; name one of train, test"):
        read("hf:a/b:dev")


def test_a_hub_that_is_out_of_reach_is_one_line_that_says_what_helps(hub: Hub) -> None:
    hub.error = ConnectionError("[Errno -2] Name or service not known\nand more")
    with pytest.raises(conf.ConfigError) as raised:
        read("hf:a/b")
    assert str(raised.value) == (
        "hf:a/b cannot be loaded: [Errno -2] Name or service not known; without a network, set "
        "HF_HUB_OFFLINE=1 to use a data set that is in the cache, or name a file"
    )


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(conf.ConfigError, match=r"hf:a/b needs datasets, .* pip install 'coachgym\[data\]'"):
        envs.make("mathchat", sandbox=FakeBackend(), tasks="hf:a/b")


def test_texts_of_a_data_set_are_made_encodable(hub: Hub) -> None:
    hub.splits = {"train": [{"problem": "a\ud800b\0?", "answer": 1}]}
    assert read("hf:a/b").records == [("row 1", {"problem": "a\ufffdb\ufffd?", "answer": 1})]


def test_unknown_bundled_problems_name_the_known_ones() -> None:
    with pytest.raises(conf.ConfigError, match="no bundled problems called 'easy'; there are: bundled:"):
        read("bundled:easy")


def test_a_path_with_a_nul_is_one_line() -> None:
    with pytest.raises(conf.ConfigError, match="cannot be read"):
        read("a\0b")

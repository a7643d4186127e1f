"""A run's episodes as spans: the file agrees with episodes.jsonl, and no endpoint slows or ends a run."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from conf import ConfigError
from learners.errors import TrainingError
from learners.report import reading
from learners.run import files
from learners.run.report import reporting
from learners.run.trackers import tracing
from learners.traces import endpoint
from learners.traces.endpoint import Endpoint, address
from learners.traces.lines import line
from learners.traces.spans import spans
from tests.learners.run.test_stops import RARE, metrics, trained
from tests.learners.run.test_trainer import settings
from tests.learners.traces.receiver import receiving
from tests.test_extras import hide


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def recorded(run: Path) -> list[str]:
    """The lines that the episodes of a run make."""
    read = reading.folder(run)
    return [line(spans(tracing.origin(read), row, one)) for row, one in reading.episodes_of(read)]


def written(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def test_a_run_writes_every_episode_as_a_line_and_computes_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new" / "traces.jsonl"
    rows, *_ = trained(settings(tmp_path / "run", trace={"otlp": str(path)}))
    lines = written(path)
    assert len(lines) == 2 + 4 + 4 + 2
    assert lines == recorded(tmp_path / "run")
    assert rows == trained(settings(tmp_path / "plain"))[0]


@pytest.mark.parametrize("place", [0, 7])
def test_the_file_of_a_resumed_run_agrees_with_its_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    path = tmp_path / "traces.jsonl"
    append, count = files.append, iter(range(100))

    def full(where: Path, text: str) -> None:
        if where == path and next(count) >= place:
            with where.open("a", encoding="utf-8") as file:
                file.write(text[:50])  # as a process leaves it that is killed
            raise OSError(28, "No space left on device")
        append(where, text)

    config = {**RARE, "trace": {"otlp": str(path)}}
    with monkeypatch.context() as patch:
        patch.setattr(files, "append", full)
        with pytest.raises(TrainingError, match=r"traces\.jsonl cannot be written: No space left"):
            trained(settings(tmp_path / "run", **config))
    trained(settings(tmp_path / "run", resume=True, **config))
    assert written(path) == recorded(tmp_path / "run")
    trained(settings(tmp_path / "whole", **RARE))
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_lines_of_other_runs_stay_and_those_of_a_lost_step_go(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    config = {"trace": {"otlp": str(path)}}
    trained(settings(tmp_path / "first", **config))
    trained(settings(tmp_path / "second", seed=1, **config))
    first, second = recorded(tmp_path / "first"), recorded(tmp_path / "second")
    foreign = '{"resourceSpans":[]}\n'
    path.write_text(foreign + "".join([*first, *second, *second[:2], second[0][:99]]), encoding="utf-8")
    trained(settings(tmp_path / "second", seed=1, resume=True, **config))
    assert written(path) == [foreign, *first, *second]


def test_a_run_that_is_resumed_with_a_file_writes_its_earlier_episodes_too(tmp_path: Path) -> None:
    trained(settings(tmp_path / "run", steps=1))
    path = tmp_path / "traces.jsonl"
    trained(settings(tmp_path / "run", resume=True, trace={"otlp": str(path)}))
    assert written(path) == recorded(tmp_path / "run")
    assert len(written(path)) > 6


def test_runs_are_told_apart_by_name_and_settings_wherever_their_folder_lies(tmp_path: Path) -> None:
    for name, changes in {"a/run": {}, "b/run": {"seed": 1}, "b/other": {}, "c/run": {"steps": 1}}.items():
        trained(settings(tmp_path / name, evaluation={"every": 0}, **changes))
    (tmp_path / "copy").mkdir()
    (tmp_path / "a/run").rename(tmp_path / "copy/run")
    ids = [tracing.origin(reading.folder(tmp_path / name)).id for name in ("copy/run", "b/run", "b/other")]
    assert len(set(ids)) == 3
    assert tracing.origin(reading.folder(tmp_path / "c/run")).id == ids[0]  # steps may grow


def test_every_episode_arrives_at_an_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc")
    with receiving() as receiver:
        trained(settings(tmp_path / "run", trace={"otlp": receiver.address}))
    traces = {span.trace_id.hex() for span in receiver.spans()}
    lines = map(json.loads, recorded(tmp_path / "run"))
    own = [one["resourceSpans"][0]["scopeSpans"][0]["spans"] for one in lines]
    assert traces == {one[0]["traceId"] for one in own}
    assert len(receiver.spans()) == sum(map(len, own))
    assert set(receiver.paths) == {"/v1/traces"}
    assert {headers["authorization"] for headers in receiver.headers} == {"Basic abc"}
    events = [event.name for span in receiver.spans() for event in span.events]
    assert events == ["gen_ai.evaluation.result"] * (12 + 8 * 3)  # outcomes, and verdicts on two steps


def ended(endpoint: Endpoint, folder: Path) -> str:
    return tracing.EndpointTraces(endpoint, folder).close()


def test_a_dead_endpoint_neither_ends_nor_changes_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving() as receiver:
        pass  # nobody listens there any more
    config = settings(tmp_path / "run", trace={"otlp": receiver.address})
    rows, *_ = trained(config)
    assert rows == trained(settings(tmp_path / "plain"))[0]
    assert not [one for one in caplog.records if one.name.startswith("opentelemetry")]


def test_what_an_endpoint_does_not_take_is_counted_in_one_line(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.status = 401
        sink = Endpoint(receiver.address)
        for _ in range(3):
            sink.add(list)
        said = ended(sink, tmp_path / "run")
    assert said.startswith(f"traces: 0 of 3 episodes at {receiver.address}/v1/traces; 3 were lost (Failed")
    assert "code: 401" in said
    assert said.endswith(f"python -m benchmarks.export {tmp_path / 'run'} --what otlp writes them to a file")
    assert logging.getLogger(endpoint._LOGGER).propagate


def test_a_lost_episode_is_not_said_to_be_tried_again() -> None:
    sender = endpoint.Sender("http://127.0.0.1:1")
    complaint = (
        "Transient error Service Unavailable encountered while exporting span batch, retrying in %.2fs."
    )
    logging.getLogger(endpoint._LOGGER).warning(complaint, 0.9)
    sender.close()
    assert sender.reason == "Transient error Service Unavailable encountered while exporting span batch"


def test_an_endpoint_that_does_not_answer_is_waited_for_no_longer_than_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "WAITING", 2)
    monkeypatch.setattr(endpoint, "DRAIN", 0.1)
    monkeypatch.setattr(endpoint, "TIMEOUT", 0.3)
    with receiving() as receiver:
        receiver.stall = threading.Event()
        sink = Endpoint(receiver.address)
        for _ in range(20):
            sink.add(list)  # more than may wait: none of it blocks
        assert "0 of 20 episodes" in ended(sink, tmp_path)


def test_an_episode_that_cannot_be_made_into_spans_is_lost_with_its_reason(tmp_path: Path) -> None:
    def broken() -> list[Any]:
        raise ValueError("no such turn")

    def slow() -> list[Any]:
        time.sleep(0.06)
        return []

    with receiving() as receiver:
        sink = Endpoint(receiver.address)
        sink.add(broken)
        for _ in range(20):  # what is at fault is not the endpoint: it is waited for
            sink.add(slow)
        said = ended(sink, tmp_path)
    assert "20 of 21 episodes" in said
    assert "(ValueError: no such turn)" in said


@pytest.mark.parametrize(
    ("given", "posted"),
    [
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("https://x/", "https://x/v1/traces"),
        ("http://h/api/public/otel/v1/traces", "http://h/api/public/otel/v1/traces"),
    ],
)
def test_an_address_without_a_path_gets_that_of_the_protocol(given: str, posted: str) -> None:
    assert address(given) == posted


def checked(place: Any) -> None:
    tracing.check(settings(Path("unused"), trace={"otlp": place}))


@pytest.mark.parametrize("place", ["localhost:4318", "grpc://localhost:4317", "http:///v1", "h:1/x"])
def test_what_is_neither_file_nor_address_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match="must be a file or an address as http://localhost:4318"):
        checked(place)


def test_files_of_something_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("my notes\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    (tmp_path / "empty").touch()
    checked(str(tmp_path / "empty"))
    checked(None)
    for name, complaint in {
        "": "is a folder",
        "notes.txt": "is a file of something else",
        "image.png": "cannot be read",
        "notes.txt/x": "cannot be read: ",
    }.items():
        with pytest.raises(ConfigError, match=complaint):
            checked(str(tmp_path / name))
    with pytest.raises(ConfigError, match=r"trace\.otlp must not be empty"):
        checked(" ")
    config = settings(tmp_path, trace={"otlp": str(tmp_path / "episodes.jsonl")})
    with (
        pytest.raises(ConfigError, match="what the run itself writes"),
        reporting(config, tmp_path, Console(quiet=True)),
    ):
        pass


@pytest.mark.parametrize("package", ["opentelemetry.sdk", "opentelemetry"])
def test_without_opentelemetry_one_line_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    hide(monkeypatch, package)
    if package == "opentelemetry":  # as where none of its packages is installed
        hide(monkeypatch, "opentelemetry.sdk")
    with pytest.raises(ConfigError, match=r"^trace\.otlp=x\.jsonl needs opentelemetry\.sdk, .*\[traces\]'$"):
        checked("x.jsonl")


def test_the_run_says_where_its_traces_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "traces.jsonl"
    config = settings(tmp_path / "run", trace={"otlp": str(path)})
    (tmp_path / "run").mkdir()
    with reporting(config, tmp_path / "run", Console(width=500)):
        pass
    assert capsys.readouterr().out == f"traces: {path}\n"

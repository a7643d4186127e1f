"""A server that is not there, or not one, shows at the start; loopback needs no proxy."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import conf
from benchmarks.coaches.__main__ import main as benchmark
from coaches import score
from coaches.calibrate import ScoreMap
from coaches.client import errors
from coaches.judging.inner import build_coach, check_ready
from conf import ConfigError
from learners.train import main as train
from tests.coaches import endpoints as e
from tests.coaches.turns import fitted, numbered

DEAD = "http://127.0.0.1:9/v1"
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def llm(url: str, **endpoint: Any) -> dict[str, Any]:
    return {"name": "llm", "cache": False, "endpoint": {"base_url": url, **endpoint}}


def raw_server(reply: bytes) -> Any:
    """Yields the address of a port that sends ``reply`` to everybody and hangs up."""

    @contextmanager
    def serving() -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    with connection:
                        connection.recv(1 << 16)
                        connection.sendall(reply)

            threading.Thread(target=serve, daemon=True).start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            listener.shutdown(socket.SHUT_RDWR)

    return serving()


NOT_SERVERS = {
    "an unauthorized": (e.status(401, "Incorrect API key"), "status 401: Incorrect API key"),
    "a wrong path": (e.status(404, "no such path"), "status 404: no such path"),
    "a page": (e.raw("<html>It works!</html>", content_type="text/html"), "not JSON"),
    "other JSON": (e.raw('{"hello": 1}'), "not a chat completion"),
    "a list": (e.raw("[]"), "not a chat completion"),
    "a method not allowed": (e.status(405, "GET only"), "status 405: GET only"),
}


@pytest.mark.parametrize("name", NOT_SERVERS)
def test_a_server_that_is_not_one_is_one_clear_line(name: str) -> None:
    manner, words = NOT_SERVERS[name]
    with e.serving(manner) as server, pytest.raises(ConfigError, match=words) as caught:
        check_ready(build_coach(llm(server.url)))
    assert str(caught.value).startswith(f"coach llm: {server.url} does not serve default: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reply", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"\x15\x03\x01\x00\x02\x02"])
def test_a_port_of_another_protocol_is_one_clear_line(reply: bytes) -> None:
    with raw_server(reply) as url, pytest.raises(ConfigError, match="does not serve default"):
        check_ready(build_coach(llm(url)))


@pytest.mark.parametrize("url", [DEAD, "http://no-such-host.invalid/v1", "http://[::1]:9/v1"])
def test_nobody_is_waited_for(url: str) -> None:
    coach = build_coach(llm(url, deadline=600.0, timeout=600.0))
    spent = time.process_time()
    with pytest.raises(ConfigError, match="does not serve default: the connection failed"):
        check_ready(coach)
    assert time.process_time() - spent < 10.0


def test_a_busy_server_is_asked_again_but_not_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with e.serving(e.status(503, "loading"), e.say("ready")) as server:
        check_ready(build_coach(llm(server.url, backoff=0.01)))
    monkeypatch.setattr("coaches.client.openai_client.PROBE_SECONDS", 0.2)
    with e.serving(e.status(503, "loading")) as server, pytest.raises(ConfigError, match="loading"):
        check_ready(build_coach(llm(server.url, backoff=0.05, deadline=600.0)))


def test_asking_whether_it_is_there_does_not_settle_the_form_of_replies() -> None:
    with e.serving(e.say("ready"), e.score(7)) as server:
        coach = e.coach(server)
        coach.check_ready()
        coach.judge(fitted())
    first, second = server.requests
    assert "response_format" not in first
    assert second["response_format"]["type"] == "json_schema"


NESTED: Mapping[str, Any] = {
    "ensemble": {"name": "ensemble", "coaches": [{"name": "rules"}, llm(DEAD)]},
    "stronger": {
        "name": "ensemble",
        "coaches": [{"name": "rules"}, {"name": "rules"}],
        "on_disagreement": "escalate",
        "stronger": llm(DEAD),
    },
    "balanced": {"name": "balanced", "coach": llm(DEAD)},
    "hindsight": {"name": "hindsight", "coach": llm(DEAD)},
    "hindsight, asked": {"name": "hindsight", "source": "model", "chat": llm(DEAD)},
    "twice": {"name": "balanced", "coach": {"name": "ensemble", "coaches": [llm(DEAD)] * 2}},
    "counterfactual": {
        "name": "counterfactual",
        "replace": "resample",
        "team": {"name": "coaches.replay.teams.model", "endpoint": {"base_url": DEAD}},
    },
}


@pytest.mark.parametrize("name", NESTED)
def test_a_model_within_another_coach_is_asked_too(name: str) -> None:
    with pytest.raises(ConfigError, match="does not serve default: the connection failed"):
        check_ready(build_coach(NESTED[name]))


def test_a_calibrated_model_is_asked_too(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    ScoreMap("llm", (0.0, 10.0), (0.0, 1.0), turns=2, tasks=2, ece_before=0.0, ece_after=0.0).write(path)
    with pytest.raises(ConfigError, match="does not serve default"):
        check_ready(build_coach({"name": "calibrated", "map": str(path), "coach": llm(DEAD)}))


def test_coaches_without_a_server_are_ready() -> None:
    for name in {str(conf.load("coach", one).name) for one in conf.names("coach")}:
        if name not in ("llm", "calibrated", "counterfactual"):
            check_ready(build_coach({"name": name}))
    with e.serving(e.status(500)) as server:
        check_ready(build_coach({"name": "hindsight", "source": "rules", "coach": {"name": "rules"}}))
        assert server.requests == []


@pytest.mark.parametrize("command", ["score", "benchmark", "train", "nested"])
def test_every_command_says_so_in_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"coach.endpoint.base_url={DEAD}", "coach.cache=false"]
    path = tmp_path / "e.jsonl"
    path.write_text('{"turns": [{"agent": "a", "action": "x"}]}\n')
    nested = f"coach.coaches=[{{name: rules}}, {{name: llm, cache: false, endpoint: {{base_url: '{DEAD}'}}}}]"
    monkeypatch.setattr("sys.argv", ["x", "coach=llm", *words, f"run_dir={tmp_path / 'run'}"])
    commands: dict[str, Callable[[], object]] = {
        "score": lambda: score.main([str(path), "coach=llm", *words]),
        "nested": lambda: score.main([str(path), "coach=ensemble", nested]),
        "benchmark": lambda: benchmark(["coach=llm", f"llm.endpoint.base_url={DEAD}", "--limit", "1"]),
        "train": train,
    }
    with pytest.raises(SystemExit) as caught:
        commands[command]()
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert said.count("does not serve default: the connection failed") == 1
    assert said.rstrip().splitlines()[-1].startswith("error: coach llm: http://127.0.0.1:9/v1")


def test_a_server_that_is_lost_is_waited_for_once_and_then_asked_once_a_turn() -> None:
    coach = e.coach(DEAD, deadline=1.0, backoff=0.05)
    calls: list[float] = []
    coach.endpoint.ledger.settle = _counted(coach.endpoint.ledger.settle, calls)  # type: ignore[method-assign]
    asked = []
    for number in range(3):
        with pytest.raises(errors.ConnectionLostError):
            coach.judge(numbered(number))
        asked.append(len(calls))
        calls.clear()
    assert asked[0] > 1
    assert asked[1:] == [1, 1]


def _counted(settle: Any, calls: list[float]) -> Any:
    async def counting(reserved: float, cost: float) -> None:
        calls.append(cost)
        await settle(reserved, cost)

    return counting


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_no_proxy_stands_between_this_machine_and_itself(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with e.serving(e.score(7)) as server, e.serving(e.status(502, "the proxy")) as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url)
        url = server.url.replace("127.0.0.1", host)
        if host == "127.0.0.2":
            with pytest.raises(errors.ConnectionLostError):
                e.coach(url, deadline=0.2, backoff=0.05).judge(fitted())
        else:
            assert e.coach(url).judge(fitted()).score == 7.0
    assert proxy.requests == []


def test_other_hosts_still_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with e.serving(e.score(7)) as proxy:
        for name in PROXIES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        assert e.coach("http://model.invalid/v1").judge(fitted()).score == 7.0
        monkeypatch.setenv("NO_PROXY", "model.invalid")
        with pytest.raises(errors.ConnectionLostError):
            e.coach("http://model.invalid/v1", deadline=0.2, backoff=0.05).judge(fitted())


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "ftp://x"])
def test_a_proxy_that_cannot_be_used_is_one_clear_line_and_loopback_does_not_care(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with e.serving(e.score(7)) as server:
        assert e.coach(server).judge(fitted()).score == 7.0
    with pytest.raises(ConfigError, match="coach llm: the proxy of the environment cannot be used") as caught:
        e.coach("http://model.invalid/v1").judge(fitted())
    assert "\n" not in str(caught.value)

"""A team behind a real HTTP server on loopback: what it is asked, and what its replies and manners become."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import DictConfig

import conf
from coaches.base import BudgetError
from conf import ConfigError
from conf.commands import compose
from envs.types import Message
from learners.config import RunConfig
from learners.errors import EpisodeError, TrainingError
from learners.generators.api import Api
from learners.policy import Policy
from learners.run.build import check
from learners.run.run import train
from learners.runtimes.distributed import assembly
from tests.coaches import endpoints as e
from tests.fakes import FakeScenario, program
from tests.learners.run.test_trainer import settings, trained

CHAT = (Message("system", "Be brief."), Message("user", "1 + 1?"))


@contextmanager
def serving(*manners: e.Manner) -> Iterator[e.Server]:
    """A server that greets, and then does as in ``tests.coaches.endpoints``."""
    with e.serving(e.say("ready"), *manners) as server:
        yield server


def api(server: e.Server | str, policies: tuple[str, ...] = ("solver",), **changes: Any) -> Api:
    """The shipped settings with ``changes``, of the endpoint's too."""
    node = conf.load("generator", "api")
    node.endpoint.base_url = server if isinstance(server, str) else server.url
    for name, value in ({"timeout": 5.0, "deadline": 20.0, "backoff": 0.01} | changes).items():
        part = node.endpoint if name in node.endpoint else node
        part[name] = value
    made: Api = conf.build("learners.generators", node, policies=policies)
    return made


def test_a_completion_is_what_the_server_says_and_what_it_says_of_its_length() -> None:
    with serving(e.say("It is 2.", tokens=(17, 5))) as server:
        completion = api(server).generate("solver", CHAT, seed=2**40 + 3, order=0, temperature=0.6)
        request = server.requests[-1]
    assert (completion.text, completion.finish_reason, completion.weight_version) == ("It is 2.", "stop", 0)
    assert (completion.prompt_ids, completion.token_ids, completion.logprobs) == ((), (), ())
    assert (completion.prompt_tokens, completion.tokens) == (17, 5)
    assert request == {
        "model": "default",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}],
        "max_tokens": 4096,
        "temperature": 0.6,
        "seed": 3,
    }


def test_what_a_model_refuses_is_left_out_and_what_a_user_adds_goes_along() -> None:
    with serving(e.say("2")) as server:
        made = api(server, send=["seed"], extra={"seed": 7, "reasoning_effort": "low"}, max_tokens_key="most")
        made.generate("solver", CHAT, seed=1, order=0)
        request = server.requests[-1]
    assert request.keys() == {"model", "messages", "most", "seed", "reasoning_effort"}
    assert request["seed"] == 7


def test_policies_may_be_played_by_other_models_and_each_is_greeted_once() -> None:
    with e.serving(e.say("ready")) as server:
        made = api(server, ("solver", "verifier", "executor"), model="large", models={"verifier": "small"})
        assert [request["model"] for request in server.requests] == ["large", "small"]
        for policy in ("solver", "verifier", "executor"):
            made.generate(policy, CHAT, seed=1, order=0)
        assert [request["model"] for request in server.requests[2:]] == ["large", "small", "large"]
        with pytest.raises(ConfigError, match="no policy of the run: nobody"):
            api(server, models={"nobody": "small"})


@pytest.mark.parametrize(
    ("manner", "text", "reason"),
    [
        (e.say("2 + ", finish_reason="length"), "2 + ", "length"),
        (e.say(None), "", "stop"),
        (e.say(None, message={"content": None, "refusal": "I will not."}), "I will not.", "stop"),
        (e.say("", finish_reason="content_filter"), "", "stop"),
        (
            e.say(None, message={"content": "2", "reasoning_content": "One and one."}),
            "<think>\nOne and one.\n</think>\n\n2",
            "stop",
        ),
        (e.say(None, message={"content": "2", "reasoning": "Hm."}), "<think>\nHm.\n</think>\n\n2", "stop"),
        (
            e.say(None, message={"content": None, "reasoning": "One a"}, finish_reason="length"),
            "<think>\nOne a",
            "length",
        ),
    ],
    ids=["cut off", "nothing", "refusal", "filtered", "thinking", "thinking elsewhere", "cut while thinking"],
)
def test_whatever_the_model_says_is_its_action(manner: e.Manner, text: str, reason: str) -> None:
    with serving(manner) as server:
        completion = api(server).generate("solver", CHAT, seed=1, order=0)
        assert len(server.requests) == 2
    assert (completion.text, completion.finish_reason) == (text, reason)


BAD = {
    "429": e.status(429, "slow down"),
    "500": e.status(500, "out of order"),
    "too long a prompt": e.status(400, "maximum context length is 10"),
    "no JSON": e.raw("<html>"),
    "half a JSON": e.raw('{"choices": [{"mess'),
    "no completion": e.raw('{"choices": "many"}'),
    "no choices": e.raw('{"choices": []}'),
    "never silent, never done": e.drip,
    "cut off": e.half,
    "reset": e.reset,
}


@pytest.mark.parametrize("manner", BAD.values(), ids=BAD.keys())
def test_a_server_of_bad_manners_loses_the_episode_in_time_and_the_next_one_can_go_on(
    manner: e.Manner,
) -> None:
    with serving(manner) as server:
        made = api(server, timeout=1.0, deadline=2.0)
        began = time.monotonic()
        with pytest.raises(EpisodeError) as caught:
            made.generate("solver", CHAT, seed=1, order=0)
        assert time.monotonic() - began < 30.0
        assert "\n" not in str(caught.value)
        assert all(request["messages"] == server.requests[1]["messages"] for request in server.requests[1:])
        server.manners = [e.say("2")]
        assert made.generate("solver", CHAT, seed=1, order=0).text == "2"


@pytest.mark.parametrize("manner", [BAD["429"], BAD["500"], BAD["no JSON"], BAD["cut off"], BAD["reset"]])
def test_what_passes_costs_no_episode(manner: e.Manner) -> None:
    with serving(manner, e.say("2")) as server:
        assert api(server).generate("solver", CHAT, seed=1, order=0).text == "2"
        assert len(server.requests) == 3


def test_a_server_that_does_not_count_is_not_said_to_have_sampled_nothing() -> None:
    with serving(e.say("2", tokens=None)) as server:
        completion = api(server).generate("solver", CHAT, seed=1, order=0)
    assert (completion.prompt_tokens, completion.tokens) == (None, None)


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        (
            e.status(401, f"Incorrect API key provided: {e.KEY}"),
            "does not serve default: status 401: Incorrect",
        ),
        (e.status(404, "The model default does not exist"), "status 404: The model default does not exist"),
        (e.status(400, "temperature must be 1"), "temperature must be 1 .generator.send says"),
        (e.status(500, "loading"), "status 500: loading"),
    ],
)
def test_what_cannot_work_is_one_clear_line_at_the_start(
    manner: e.Manner, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(e.KEY_ENV, e.KEY)
    with e.serving(manner) as server, pytest.raises(ConfigError, match=words) as caught:
        api(server, key_env=e.KEY_ENV, deadline=3.0)
    assert server.authorizations[0] == f"Bearer {e.KEY}"
    assert "\n" not in str(caught.value)
    assert e.KEY[:10] not in str(caught.value)


NO_SYSTEM = "System role not supported"


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_server_whose_template_refuses_the_system_role_gets_its_text_from_the_user(status: int) -> None:
    def strict(handler: e.Handler) -> None:
        roles = [message["role"] for message in handler.body["messages"]]
        (e.status(status, NO_SYSTEM) if "system" in roles else e.say("2"))(handler)

    with e.serving(strict) as server:
        made = api(server, deadline=3.0)
        assert made.generate("solver", CHAT, seed=1, order=0).text == "2"
        assert server.requests[-1]["messages"] == [{"role": "user", "content": "Be brief.\n\n1 + 1?"}]


def test_a_server_that_refuses_either_way_is_one_clear_line_with_its_first_reason() -> None:
    with e.serving(e.status(400, NO_SYSTEM), e.status(400, "nor a user")) as server:
        with pytest.raises(ConfigError, match=f"does not serve default: status 400: {NO_SYSTEM}$"):
            api(server)
        assert len(server.requests) == 2


def test_a_server_that_refuses_a_setting_is_not_asked_again() -> None:
    with e.serving(e.status(400, "temperature must be 1")) as server:
        with pytest.raises(ConfigError):
            api(server)
        assert len(server.requests) == 1


def test_nobody_is_waited_for_at_the_start_and_a_missing_key_is_missed() -> None:
    began = time.monotonic()
    with pytest.raises(
        ConfigError, match=r"generator=api: http://127.0.0.1:9/v1 does not serve default: the"
    ):
        api("http://127.0.0.1:9/v1", deadline=60.0)
    assert time.monotonic() - began < 50.0  # before the deadline
    with pytest.raises(
        ConfigError, match="generator=api: set the environment variable NO_KEY to the API key"
    ):
        api("http://127.0.0.1:9/v1", key_env="NO_KEY")
    with pytest.raises(ConfigError, match="may contain temperature and seed, not 'top_p'"):
        api("http://127.0.0.1:9/v1", send=["top_p"])
    with pytest.raises(ConfigError, match="generator=api: max_cost needs prices"):
        api("http://127.0.0.1:9/v1", max_cost=1.0)


def test_a_key_that_is_withdrawn_ends_the_run() -> None:
    with serving(e.status(401, "revoked")) as server:
        made = api(server)
        with pytest.raises(TrainingError, match="generator=api: status 401: revoked"):
            made.generate("solver", CHAT, seed=1, order=0)


def test_completions_are_priced_and_the_budget_holds() -> None:
    prices = {"prompt": 0.0, "completion": 1e6}
    spent = r"generator=api: the budget of 17 USD is used up .*: 9\.0000 is"
    with e.serving(e.say("2", tokens=(10, 3))) as server:
        made = api(server, prices=prices, max_tokens=10, max_cost=17.0)
        for _ in range(2):
            completion = made.generate("solver", CHAT, seed=1, order=0)
            assert completion.bill is not None
            assert completion.bill.cost == pytest.approx(3.0)
        with pytest.raises(BudgetError, match=spent):
            made.generate("solver", CHAT, seed=1, order=0)
        assert len(server.requests) == 3


def test_it_takes_no_weights() -> None:
    with e.serving(e.say("2")) as server:
        made = api(server)
        with pytest.raises(TrainingError, match="inference"):
            made.sync("solver", 1)
        with pytest.raises(TrainingError, match="has no weights to train, save or load"):
            Policy("solver", made).save(Path("x"))


def actions(handler: e.Handler) -> None:
    """A team that solves the tasks of ``FakeScenario``, but that the server is out of order for number 5."""
    chat = " ".join(message["content"] for message in handler.body["messages"])
    number = chat.split("## Task: write ")[1][0] if "## Task" in chat else ""
    if number == "5" and "Turn a.txt" in chat:
        return e.status(500, "out of order")(handler)
    codes = {
        "Write a.txt.": program(f"open('a.txt', 'w').write('{number}')"),
        "Turn a.txt": program("open('b.txt', 'w').write(open('a.txt').read())"),
        "Say what": "done",
    }
    said = next((code for words, code in codes.items() if words in chat), "ready")
    return e.say(said, tokens=(100, 7))(handler)


def test_an_episode_whose_server_fails_is_lost_and_counted_and_the_others_are_scored(tmp_path: Path) -> None:
    roles = [role.name for role in FakeScenario().roles]
    with e.serving(actions) as server:
        made = api(server, tuple(roles), deadline=3.0)
        team = {role: Policy(role, made) for role in roles}
        config = settings(tmp_path / "run", steps=0, evaluation={"episodes": 2}, rollout={"concurrency": 4})
        [row], _, folder = trained(config, team=team, generator=made)
    assert (row["phase"], row["episodes"], row["lost"], row["success"]) == ("eval", 2, 2, 1.0)
    episodes = list(folder.rows("episodes"))
    assert {episode["task"] for episode in episodes} == {"heldout-4"}
    turns = [turn for episode in episodes for turn in episode["turns"]]
    assert all((turn["prompt_tokens"], turn["tokens"], turn["cost"]) == (100, 7, 0.0) for turn in turns)
    assert not (tmp_path / "run" / "checkpoints").exists()


def mathchat(server: str, *more: str) -> DictConfig:
    return compose(
        [
            "env=mathchat",
            "generator=api",
            f"generator.endpoint.base_url={server}",
            f"generator.endpoint.key_env={e.KEY_ENV}",
            "generator.endpoint.deadline=20.0",
            "generator.endpoint.backoff=100.0",
            "sandbox=local",
            "evaluation.tasks=4",
            "evaluation.episodes=1",
            "evaluation.coached=true",
            *more,
        ]
    )


def test_a_whole_run_is_a_folder_without_the_key_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(e.KEY_ENV, e.KEY)
    count = iter(range(100))

    def sometimes(handler: e.Handler) -> None:
        told = f"not with {handler.headers['authorization']}"
        (e.status(503, told) if next(count) == 1 else e.say(f"\\boxed{{4}} {told}"))(handler)

    with e.serving(sometimes) as server:
        run = train(mathchat(server.url, "steps=0", f"run_dir={tmp_path}/run"))
        assert set(server.authorizations) == {f"Bearer {e.KEY}"}
    names = {path.name for path in run.iterdir()}
    assert names >= {"config.yaml", "metadata.json", "episodes.jsonl", "metrics.jsonl", "curves.png"}
    assert "checkpoints" not in names
    for path in run.iterdir():
        assert e.KEY.encode()[:12] not in path.read_bytes(), path
    [row] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert (row["episodes"], row["lost"]) == (3, 1)
    assert row["score/verifier"] >= 0.0


def test_training_is_refused_before_anything_is_asked_or_loaded(tmp_path: Path) -> None:
    nowhere = mathchat("http://127.0.0.1:9/v1", "model=qwen3-4b", f"model.path={tmp_path}/nowhere")
    with pytest.raises(
        ConfigError, match=r"^generator=api is for inference: set steps=0, or evaluate with"
    ) as caught:
        check(RunConfig.read(nowhere))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="generator=api has no weights to distribute: set runtime=local"):
        assembly.assemble(RunConfig.read(nowhere), *cast(Any, (None, None)))
    nowhere.steps, nowhere.evaluation.run = 0, str(tmp_path)
    with pytest.raises(ConfigError, match="weights of its own, which generator=api cannot take"):
        check(RunConfig.read(nowhere))

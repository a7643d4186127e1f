# play_with_verifiers.py
"""One role of a team as an environment of verifiers, the package that prime-rl trains with.

``load_environment`` is what verifiers and prime-rl look for in an environment's module. Run as a program, a
scripted model plays three episodes.
"""

import asyncio
import json
import sys

try:
    import httpx
    import verifiers as vf
    from datasets import Dataset
    from openai import AsyncOpenAI
except ModuleNotFoundError as missing:
    sys.exit(f"play_with_verifiers.py needs {missing.name}: pip install 'coachgym[examples]'")

import conf
import envs
from coaches.reward import CoachReward
from envs.single_agent import SingleAgentEnv


class RoleEnv(vf.MultiTurnEnv):
    """Each rollout plays an episode of its own; messages are only ever added, as verifiers expects."""

    def __init__(self, role: str, **settings):
        self.role, self.settings = role, settings
        env = envs.make("mathchat", **settings)
        tasks = env.scenario.tasks("train")
        env.close()
        rows = [
            {"prompt": [{"role": "user", "content": task.prompt}], "info": {"task": task.id}}
            for task in tasks
        ]
        super().__init__(dataset=Dataset.from_list(rows), rubric=vf.Rubric([coach_score]))

    async def setup_state(self, state):
        coach = conf.build("coaches", conf.load("coach", "rules"))
        team = CoachReward(envs.make("mathchat", **self.settings), coach)
        state["episode"], state["score"] = SingleAgentEnv(team, self.role, "silent"), 0.0
        task = state["info"]["task"]
        observation, _ = await asyncio.to_thread(state["episode"].reset, options={"task": task})
        state["prompt"] = list(observation["messages"])
        return state

    async def env_response(self, messages, state, **fields):
        step = await asyncio.to_thread(state["episode"].step, messages[-1]["content"])
        observation, reward, terminated, truncated, _ = step
        state["score"] += reward
        new = list(observation["messages"][len(messages) :])
        if terminated or truncated:
            state["final_env_response"] = new
        return new

    @vf.cleanup
    async def close_episode(self, state):
        state.pop("episode").close()


async def coach_score(state) -> float:
    """The coach's scores of the role's actions, summed over the episode."""
    return state["score"]


def load_environment(role: str = "code_executor", sandbox: str = "local", **settings) -> RoleEnv:
    return RoleEnv(role, sandbox=sandbox, **settings)


def scripted(request: httpx.Request) -> httpx.Response:
    """Answers as an OpenAI-compatible server would."""
    asked = json.loads(request.content)["messages"][-1]["content"]
    text = "The program printed 1." if "exit code" in asked else "```python\nprint(1)\n```"
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice]}
    return httpx.Response(200, json=body)


if __name__ == "__main__":
    http = httpx.AsyncClient(transport=httpx.MockTransport(scripted))
    client = AsyncOpenAI(api_key="none", base_url="http://scripted/v1", http_client=http)
    environment = load_environment()
    results = environment.evaluate_sync(client, "scripted", num_examples=3, rollouts_per_example=1)
    for output in results["outputs"]:
        print(f"{len(output['completion'])} messages, scores of the coach: {output['reward']:.1f}")

# train_with_torch.py
"""REINFORCE in plain PyTorch: each agent of the median's team learns which of its canned actions to take.

Takes a quarter of a minute on one core: 200 episodes, whose programs run in a sandbox.
"""

import re
import sys

try:
    import torch
except ModuleNotFoundError as missing:
    sys.exit(f"train_with_torch.py needs {missing.name}: pip install 'coachgym[train]'")

import conf
import envs
from coaches.reward import CoachReward


def program(line):
    return f"```python\n{line}\n```"


def numbers(observation):
    """The numbers of the task, which is the first user message."""
    return re.search(r"numbers\n([\d, ]+)", observation["messages"][1]["content"])[1]


CANNED = {
    "sorter": [
        lambda seen: "I have nothing to add.",
        lambda seen: program(f"print(*[{numbers(seen)}], sep='\\n', file=open('sorted.txt', 'w'))"),
        lambda seen: program(f"print(*sorted([{numbers(seen)}]), sep='\\n', file=open('sorted.txt', 'w'))"),
    ],
    "reporter": [
        lambda seen: "I have nothing to add.",
        lambda seen: program("print(sorted(open('sorted.txt'))[0])"),
        lambda seen: program(
            "import statistics as s\nprint('Answer:', s.median(map(int, open('sorted.txt'))))"
        ),
        lambda seen: re.findall(r"Answer: [\d.]+|$", seen["messages"][-1]["content"])[0] or "Answer: unknown",
    ],
}
EPISODES, GAMMA = 200, 1.0

torch.manual_seed(0)
env = CoachReward(
    envs.make("my_conf/env/median.yaml", sandbox="local"), conf.build("coaches", conf.load("coach", "rules"))
)
logits = {agent: torch.zeros(2, len(CANNED[agent]), requires_grad=True) for agent in env.possible_agents}
optimizer = torch.optim.Adam(logits.values(), lr=0.1)
baseline = dict.fromkeys(env.possible_agents, 0.0)
paid, solved = [], []

for seed in range(EPISODES):
    env.reset(seed=seed)
    logprobs = {agent: [] for agent in env.agents}
    rewards = {agent: [] for agent in env.agents}
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        if logprobs[agent]:
            rewards[agent].append(reward)  # the coach's score of this agent's latest action
        if terminated or truncated:
            env.step(None)
            continue
        choices = torch.distributions.Categorical(logits=logits[agent][len(logprobs[agent])])
        choice = choices.sample()
        logprobs[agent].append(choices.log_prob(choice))
        env.step(CANNED[agent][choice](observation))
    loss = torch.zeros(())
    for agent, scores in rewards.items():
        returns = torch.tensor(scores).flip(0).cumsum(0).flip(0)  # the rewards still to come
        loss -= ((returns - baseline[agent]) * torch.stack(logprobs[agent])).sum()
        baseline[agent] += 0.05 * (float(returns[0]) - baseline[agent])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    paid.append(sum(map(sum, rewards.values())))
    solved.append(env.unwrapped.outcome.success)
    if len(solved) % 50 == 0:
        print(f"{len(solved)} of {EPISODES} episodes", flush=True)

env.close()
for name, values in {"scores of the coach": paid, "solved": solved}.items():
    first, last = (sum(part) / len(part) for part in (values[:50], values[-50:]))
    print(f"{name}, mean of the first 50 episodes and of the last 50: {first:.2f}, {last:.2f}")

# play_random.py
import sys

import envs

name = sys.argv[1] if len(sys.argv) > 1 else "mathchat"
env = envs.make(name, sandbox="local")
print(f"{name}: {', '.join(env.possible_agents)}")
for seed in range(3):
    env.reset(seed=seed)
    for agent in env.agents:
        env.action_space(agent).seed(seed)
    turns = dict.fromkeys(env.agents, 0)
    paid = dict.fromkeys(env.agents, 0.0)
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        paid[agent] += reward
        if terminated or truncated:
            env.step(None)
        else:
            turns[agent] += 1
            env.step(env.action_space(agent).sample())  # short random text
    print(f"seed {seed}: {sum(turns.values())} turns, {env.outcome.failure_code}, paid {paid}")
env.close()

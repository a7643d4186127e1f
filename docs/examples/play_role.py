# play_role.py
import gymnasium

import envs  # registers the ids

envs.register("mine/median-v0", "my_conf/env/median.yaml", sandbox="local")


def sorter(observation):
    return "```python\nprint(*sorted([9, 2, 11]), sep='\\n', file=open('sorted.txt', 'w'))\n```"


env = gymnasium.make("mine/median-reporter-v0", others={"sorter": sorter})
observation, info = env.reset(seed=0, options={"task": "median-9-2-11"})
observation, reward, terminated, truncated, info = env.step("Answer: 9")
print(reward, terminated, info["outcome"].failure_code)
env.close()

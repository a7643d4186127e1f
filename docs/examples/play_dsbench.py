# play_dsbench.py
import envs

env = envs.make("dsbench", sandbox="local")  # or pettingzoo.make("aec", "coachgym/dsbench-v0")
env.reset(seed=0)
while env.agents:
    observation, reward, terminated, truncated, info = env.last()
    action = None if terminated else "```python\nprint(open('train.csv').readline())\n```"
    env.step(action)
print(env.outcome)
env.close()

# play_median.py
import envs

SORT = "```python\nprint(*sorted([9, 2, 11]), sep='\\n', file=open('sorted.txt', 'w'))\n```"
MEDIAN = "```python\nfrom statistics import median\nprint(median(map(int, open('sorted.txt'))))\n```"
actions = iter([SORT, "sorted.txt is ready.", MEDIAN, "Answer: 9"])

env = envs.make("my_conf/env/median.yaml", sandbox="local")
env.reset(seed=0, options={"task": "median-9-2-11"})
while env.agents:
    observation, reward, terminated, truncated, info = env.last()
    env.step(None if terminated else next(actions))
print(env.render())
env.close()

# play_median.py
from omegaconf import OmegaConf

import conf
from envs import PipelineEnv

scenario = conf.build("envs", OmegaConf.load("my_conf/env/median.yaml"))
backend = conf.build("sandbox", conf.load("sandbox", "local"))
env = PipelineEnv(scenario, backend)

SORT = "```python\nprint(*sorted([9, 2, 11]), sep='\\n', file=open('sorted.txt', 'w'))\n```"
MEDIAN = "```python\nfrom statistics import median\nprint(median(map(int, open('sorted.txt'))))\n```"
actions = iter([SORT, "sorted.txt is ready.", MEDIAN, "Answer: 9"])

env.reset(seed=0, options={"task": "median-9-2-11"})
while env.agents:
    observation, reward, terminated, truncated, info = env.last()
    env.step(None if terminated else next(actions))
print(env.render())
backend.close()

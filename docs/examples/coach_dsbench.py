# coach_dsbench.py
import conf
import envs
from coaches.reward import CoachReward

coach = conf.build("coaches", conf.load("coach", "rules"))
env = CoachReward(envs.make("dsbench", sandbox="local"), coach)
env.reset(seed=0)
while env.agents:
    observation, reward, terminated, truncated, info = env.last()
    env.step(None if terminated else "The files are ready.")
for turn, verdict in zip(env.unwrapped.turns, env.verdicts, strict=True):
    print(f"{turn.agent}: {verdict.score}, blames {verdict.blame}: {verdict.rationale}")
env.close()

# train_with_sb3.py
"""Stable-Baselines3's PPO plays the verifier of MathChat: it reads a vector and chooses a canned action."""

import re
import sys

import gymnasium
import numpy as np
from gymnasium.wrappers import RecordEpisodeStatistics
from sklearn.feature_extraction.text import HashingVectorizer

try:
    from stable_baselines3 import PPO
except ModuleNotFoundError as missing:
    sys.exit(f"train_with_sb3.py needs {missing.name}: pip install 'coachgym[examples]'")

import envs  # noqa: F401 - registers the ids

EPISODES = 320


def code_executor(observation):
    """Computes the remainder that the problem asks for."""
    base, power, modulus = re.findall(r"\d+", observation["messages"][1]["content"])[:3]
    return f"```python\nprint(pow({base}, {power}, {modulus}))\n```"


class AsVector(gymnasium.Wrapper):
    """The words that the role reads are hashed into a vector; its actions are numbers of canned ones."""

    words = HashingVectorizer(n_features=64)
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (64,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, **options):
        observation, info = super().reset(**options)
        return self.vector(observation), info

    def step(self, action):
        numbers = re.findall(r"\d+", self.text)
        canned = ["I cannot tell.", f"\\boxed{{{numbers[0]}}}", f"\\boxed{{{numbers[-1]}}}"]
        observation, *rest = super().step(canned[action])
        return self.vector(observation), *rest

    def vector(self, observation):
        self.text = observation["messages"][1]["content"]
        return self.words.transform([self.text]).toarray()[0].astype(np.float32)


role = gymnasium.make(
    "coachgym/mathchat-verifier-v0",
    others={"problem_solver": "silent", "code_executor": code_executor},
    sandbox="local",
    style="compact",
    kinds=["modular_power"],
)
env = RecordEpisodeStatistics(AsVector(role), buffer_length=EPISODES)
PPO("MlpPolicy", env, n_steps=32, batch_size=32, learning_rate=3e-3, seed=0, device="cpu").learn(EPISODES)
rewards = list(env.return_queue)
env.close()
first, last = np.mean(rewards[:60]), np.mean(rewards[-60:])
print(f"solved, of the first 60 episodes and of the last 60: {first:.2f}, {last:.2f}")

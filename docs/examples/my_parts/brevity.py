# my_parts/brevity.py
from dataclasses import dataclass

from coaches.base import Verdict


class Brevity:
    @dataclass
    class Config:
        limit: int

    def __init__(self, config):
        self.config = config

    def judge(self, history):
        short = len(history[-1].action) <= self.config.limit
        return Verdict(10.0 if short else 0.0, "short" if short else "long", source="brevity")

"""The memory of all descendants together: in a process of its own, without other children."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import mmap, os, signal, sys, time
from unittest.mock import patch
from sandbox.guest import memory, processes
MB = 1 << 20
inherited = bytearray(b"x") * (40 * MB)
counter = mmap.mmap(-1, 4096)
def fork(action):
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        kept = action()
        os.write(write, b".")
        while True: time.sleep(60)
    os.read(read, 1)
    return pid
def rewrite():
    for place in range(0, len(inherited), 4096): inherited[place] = 1
"""


def output(code: str) -> str:
    code = BEGIN + code + "\nprocesses.end_descendants()\nprocesses.end_rest()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.strip()


def test_what_processes_inherit_counts_once() -> None:
    code = "for _ in range(12): fork(int)\nprint(memory.exceeds(60 * MB))"
    assert output(code) == "False"


def test_inherited_memory_that_processes_rewrite_counts_in_each() -> None:
    code = "for _ in range(5): fork(rewrite)\nprint(memory.exceeds(120 * MB), memory.exceeds(220 * MB))"
    assert output(code) == "True False"


def test_memory_that_a_program_s_processes_share_counts_once() -> None:
    code = """
def program():
    kept = bytearray(b"x") * (30 * MB)
    for _ in range(8): fork(int)
    return kept
fork(program)
print(memory.exceeds(60 * MB))
"""
    assert output(code) == "False"
    assert output(code.replace("30 * MB", "100 * MB")) == "True"


def test_files_and_shared_memory_count_as_they_should() -> None:
    code = """
def shared():
    kept = mmap.mmap(-1, 60 * MB)
    kept.write(bytes(60 * MB))
    return kept
def library():
    data = mmap.mmap(os.open(sys.executable, os.O_RDONLY), 0, prot=mmap.PROT_READ)
    return data, sum(data[place] for place in range(0, len(data), 4096))
for _ in range(4): fork(library)
print(memory.exceeds(15 * MB))
fork(shared)
print(memory.exceeds(15 * MB))
"""
    assert output(code).split() == ["False", "True"]


def test_processes_stand_still_while_a_measurement_takes_long() -> None:
    code = """
def count():
    if os.fork() == 0:
        while True: counter[0] = (counter[0] + 1) % 256
for _ in range(3): fork(count)
seen = []
def slow(pid):
    before = counter[0], counter[0]
    time.sleep(0.03)
    seen.append(bytes(counter[:1]) == bytes(before[:1]))
    return 20 * MB
stopped = fork(int)
os.kill(stopped, signal.SIGSTOP)
while processes._is_stopped(stopped) is False: pass
with patch.object(memory, "divided", slow): print(memory.exceeds(1 * MB))
print(len(seen) > 7, all(seen[-7:]))
before = bytes(counter[:1])
until = time.monotonic() + 20
while bytes(counter[:1]) == before and time.monotonic() < until: pass
print(bytes(counter[:1]) != before, processes._is_stopped(stopped))
os.kill(stopped, signal.SIGCONT)
"""
    assert output(code).split() == ["True", "True", "True", "True", "True"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users open files as themselves")
def test_memory_is_measured_where_files_are_opened_as_another_user() -> None:
    code = """
from sandbox.isolation.privileges import drop_rights
drop_rights(1234567, 0)
def child(action):
    def run():
        memory.libc.prctl(4, 1, 0, 0, 0)  # as the guest does for its programs
        return action()
    return run
for _ in range(12): fork(child(int))
print(memory.exceeds(60 * MB))
for _ in range(4): fork(child(rewrite))
print(memory.exceeds(60 * MB), memory.exceeds(220 * MB))
"""
    assert output(code).split() == ["False", "True", "False"]


def test_the_pause_between_measurements_is_shorter_where_more_processors_fill_less_memory() -> None:
    code = """
def pause(megabytes, processors):
    with patch("os.sched_getaffinity", lambda _: range(processors)): return memory.tick(megabytes << 20)
print(pause(768, 1), pause(768, 2), pause(768, 8) < 0.06, pause(64, 4), pause(768, 512))
"""
    assert output(code) == "0.1 0.1 True 0.02 0.02"

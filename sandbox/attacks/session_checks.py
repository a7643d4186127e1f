"""Checks of ``sandbox.contract`` for sessions: how they behave, what they withstand, and that they do not
keep a sandbox alive."""

# ruff: noqa: PT017, PT018

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sandbox.attacks.attack import PATIENT
from sandbox.attacks.checks import SMALL, Check, nothing_left, sandbox
from sandbox.attacks.sessions import ATTACKS, BEAT, SESSION
from sandbox.base import MAX_SESSIONS, Backend, Limits, LostError, Result, Sandbox, SandboxSpec
from sandbox.guest.session import GRACE, WATCHING

# ---- behaviour


def _a_session_keeps_its_names(box: Sandbox) -> None:
    def outputs(code: str, session: str | None = "a") -> tuple[str, str]:
        result = box.run(code, session=session, seed=5)
        assert not result.state_lost, result
        return result.stdout, result.stderr

    outputs("import random, os\nx = [1]\ndef f():\n    return g()\nos.makedirs('d'); os.chdir('d')")
    outputs("def g():\n    return 1 / len(x)\nx.clear()")
    assert outputs("x.append(2); print(x, __name__, f(), os.path.basename(os.getcwd()))")[0] == (
        "[2] __main__ 1.0 d\n"
    )
    assert (
        outputs("print('x' in globals())", "b")[0] == outputs("print('x' in globals())", None)[0] == "False\n"
    )
    failed = outputs("x.clear()\nf()")[1]
    assert failed.startswith("Traceback") and failed.endswith("ZeroDivisionError: division by zero\n")
    assert "return g()" in failed and "return 1 / len(x)" in failed
    assert outputs("print(x)")[0] == "[]\n"
    first, second = (outputs("import random\nprint(random.random())", name)[0] for name in "cc")
    assert first != second and outputs("import random\nprint(random.random())", None)[0] == first


def _a_session_outlives_errors_and_exits(box: Sandbox) -> None:
    run = partial(box.run, session="a")
    run("x = 0")
    for code, status, exit_code in (
        ("x += 1\n1 / 0", "error", 1),
        ("x += 1\nraise SystemExit(3)", "error", 3),
        ("x += 1\nimport sys; sys.exit()", "ok", 0),
        ("x += 1; if", "error", 1),
        ("x += 1\nimport os\nif os.fork() == 0: x = 100\nelse: os.wait()", "ok", 0),
        ("x += 1\n" + "#" * (1 << 20), "ok", 0),
    ):
        result = run(code)
        assert (result.status, result.exit_code, result.state_lost) == (status, exit_code, False), result
    assert run("print(x)").stdout == "5\n"
    long = run("print('HEAD' + 'x' * 20000 + 'TAIL')")
    assert long.truncated and long.stdout.startswith("HEADx") and long.stdout.endswith("xTAIL\n")
    assert run("").stdout == ""
    assert run("sum(range(3_000_000))").cpu_s > 0 < run("").wall_s


def _a_session_that_ends_is_lost_and_starts_anew(box: Sandbox) -> None:
    for code, status, exit_code in (
        ("print('said'); import os; os._exit(7)", "error", 7),
        ("print('said'); import os; os.kill(os.getpid(), 9)", "killed", -9),
        ("print('said')\nwhile True: print('x' * 1000)", "output_limit", None),
        ("print('said')\nx = [bytearray(8 << 20) for n in range(200)]", None, None),
    ):
        box.run("x = 1", session="a")
        result = box.run(code, session="a")
        assert result.stdout.startswith("said\n")
        if status:  # memory: an error, or killed, as for other programs
            assert (result.status, result.exit_code, result.state_lost) == (status, exit_code, True), result
        after = box.run("print('x' in globals())", session="a")
        if result.state_lost:
            assert (after.status, after.stdout, after.state_lost) == ("ok", "False\n", False), after


def _an_interrupted_session_keeps_its_names(box: Sandbox) -> None:
    run = partial(box.run, session="a")
    run("x = 1")
    result = run("print('before')\nimport time\ntime.sleep(600)", timeout=2)
    assert (result.status, result.exit_code, result.stdout) == ("timeout", None, "before\n"), result
    assert "KeyboardInterrupt" in result.stderr and not result.state_lost and result.wall_s < 300
    assert run("print(x)").stdout == "1\n"
    run("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert not run("while True: pass", timeout=1).state_lost  # an earlier program's handler is replaced
    stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    result = run(stubborn, timeout=0.3)
    assert (result.status, result.exit_code, result.state_lost) == ("timeout", None, True), result
    assert "the session is gone" in result.stderr and 0.3 + GRACE < result.wall_s < 300
    assert run("print('x' in globals())").stdout == "False\n"


def _the_number_of_sessions_is_limited(box: Sandbox) -> None:
    for number in range(MAX_SESSIONS):
        box.run(f"x = {number}", session=str(number))
    try:
        box.run("", session="one more")
    except ValueError:
        pass
    else:
        raise AssertionError("one session too many")
    box.run("import os; os._exit(0)", session="0")
    assert box.run("", session="one more").status == "ok"
    assert box.run("print(x)", session="3").stdout == "3\n"


def _an_ended_session_is_gone_and_not_lost(box: Sandbox) -> None:
    box.end_session("never started")
    box.run("x = 1", session="b")
    for code in (
        "x = 1",
        "import os, time; x = os.fork()\nif x == 0: time.sleep(600)",
        "import os; os._exit(0)",
    ):
        box.run(code, session="a")
        box.end_session("a")
        after = box.run("print('x' in globals())", session="a")
        assert (after.stdout, after.state_lost) == ("False\n", False), after
    for number in range(2 * MAX_SESSIONS):
        assert box.run("", session=str(number)).status == "ok"
        box.end_session(str(number))
    assert box.run("print(x)", session="b").stdout == "1\n"


def _nothing_of_a_session_runs_between_programs(box: Sandbox) -> None:
    code = f"""
import os, threading, time
{BEAT}
threading.Thread(target=beat, daemon=True).start()
if os.fork() == 0: beat("child")
if (parent := os.fork()) == 0:
    if os.fork(): os._exit(0)
    beat("orphan")
os.waitpid(parent, 0)
while not all(map(os.path.exists, ("beat", "child", "orphan"))): time.sleep(0.01)
"""
    assert box.run(code, session="a").status == "ok"
    _check_still(box)
    box.run("import time; time.sleep(0.2)")
    _check_still(box)
    before = {file.path: file.sha256 for file in box.list()}
    box.run(_WHILE_BOTH_BEAT, session="a")
    after = {file.path: file.sha256 for file in box.list()}
    moved = {path for path in before if after[path] != before[path]}
    assert moved == {"beat", "child"}, moved


_WHILE_BOTH_BEAT = """
for name in ("beat", "child"):
    before = open(name).read()
    while open(name).read() == before: time.sleep(0.01)
"""


def _check_still(box: Sandbox) -> None:
    before = box.list()
    time.sleep(0.2)
    assert before and box.list() == before


def _the_loss_of_a_stopped_session_is_reported(box: Sandbox) -> None:
    where = box.run("import os; x = 1; print(os.getpid())", session="a").stdout.strip()
    box.run(f"import os, signal\ntry: os.kill({where}, signal.SIGKILL)\nexcept OSError: print('held')")
    result = box.run("print('x' in globals())", session="a")
    assert (result.stdout, result.state_lost) in (("True\n", False), ("False\n", True)), result
    assert result.state_lost == ("a new one" in result.stderr)


# ---- idle time and lifetime


def _an_idle_sandbox_ends_itself(backend: Backend) -> None:
    _check_end(backend, replace(SMALL, idle=1.0), pause=2.0)


def _a_sandbox_ends_itself_when_its_lifetime_is_over(backend: Backend) -> None:
    _check_end(backend, replace(SMALL, lifetime=1.5), pause=0.2)


def _check_end(backend: Backend, limits: Limits, pause: float) -> None:
    """Checks that sessions do not keep a sandbox alive, and that no program is blamed for its end."""
    box = backend.open(SandboxSpec(limits=limits))
    try:
        box.run("import os, time\nif os.fork() == 0: time.sleep(60)", session="a")
        for _ in range(100):
            time.sleep(pause)
            box.run("x = 1", session="a")
            assert pause < 1, "it is still alive"
    except LostError as error:
        assert not error.running, error
    else:
        raise AssertionError("it is still alive")
    finally:
        box.close()


# ---- attacks


def _attack(name: str) -> Check:
    def check(backend: Backend) -> None:
        with nothing_left(backend), sandbox(backend) as box:
            _check_attack(box, name)

    return check


def _check_attack(box: Sandbox, name: str) -> None:
    attack, run = ATTACKS[name], partial(box.run, session="a", timeout=10)
    box.run("x = 'kept'", session="other")
    result = box.run(SESSION + attack.code, timeout=attack.timeout, session="a")
    assert "BREACH" not in result.stdout and result.status in attack.ends, result
    _check_unharmed(box.run, "print('un' + 'harmed')")
    _check_stopped(box)
    run("print('mine')")  # whatever is left of it sends, the session replies and can be ended
    assert result.state_lost or run("import os; os._exit(0)").state_lost or run("").state_lost
    _check_unharmed(partial(box.run, session="a"), "print('un' + 'harmed')")
    box.run("print('still here')", session="other")


def _check_stopped(box: Sandbox) -> None:
    """Checks that nothing changes the files any more, once the guest has looked: it does so once a second."""
    until = time.monotonic() + PATIENT
    time.sleep(WATCHING + 0.3)
    before = box.list()
    time.sleep(0.3)
    while (after := box.list()) != before:
        assert time.monotonic() < until, "it continues to run"
        before = after
        time.sleep(0.3)


def _check_unharmed(run: Callable[..., Result], code: str) -> None:
    result = run(code, timeout=PATIENT)
    assert (result.status, result.stdout) == ("ok", "unharmed\n"), result


def _in_a_sandbox(check: Callable[[Sandbox], None]) -> Check:
    def on(backend: Backend) -> None:
        with sandbox(backend) as box:
            check(box)

    return on


_BEHAVIOUR = (
    _a_session_keeps_its_names,
    _a_session_outlives_errors_and_exits,
    _a_session_that_ends_is_lost_and_starts_anew,
    _an_interrupted_session_keeps_its_names,
    _the_number_of_sessions_is_limited,
    _an_ended_session_is_gone_and_not_lost,
    _nothing_of_a_session_runs_between_programs,
    _the_loss_of_a_stopped_session_is_reported,
)
_ENDS = (_an_idle_sandbox_ends_itself, _a_sandbox_ends_itself_when_its_lifetime_is_over)
BEHAVIOUR_CHECKS: dict[str, Check] = {
    **{check.__name__.strip("_").replace("_", " "): _in_a_sandbox(check) for check in _BEHAVIOUR},
    **{check.__name__.strip("_").replace("_", " "): check for check in _ENDS},
}
ATTACK_CHECKS: dict[str, Check] = {name: _attack(name) for name in ATTACKS}

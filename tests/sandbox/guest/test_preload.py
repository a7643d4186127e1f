"""What a sandbox imports before any program runs in it."""

from collections.abc import Iterator

import pytest

import conf
from sandbox.base import SandboxError, SandboxSpec
from sandbox.local import Local
from tests.sandbox.backends import local, or_skip


@pytest.fixture(scope="module")
def backend() -> Iterator[Local]:
    built = or_skip(local)
    yield built
    built.close()


def test_a_preload_program_leaves_imports_but_no_names(backend: Local) -> None:
    spec = SandboxSpec(("json.decoder", "import csv as table\ntable.used = True"))
    box = backend.open(spec)
    assert (
        box.run("import sys; print('json.decoder' in sys.modules, sys.modules['csv'].used)").stdout
        == "True True\n"
    )
    assert box.run("print('table' in dir())").stdout == "False\n"
    box.close()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("1 / 0", "a program to warm up: ZeroDivisionError: division by zero"),
        ("import no_such_module", "a program to warm up: ModuleNotFoundError"),
        ("1 +", "a program to warm up: SyntaxError"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
            "threads",
        ),
    ],
)
def test_a_program_that_cannot_be_preloaded_is_an_error(backend: Local, program: str, reason: str) -> None:
    with pytest.raises(SandboxError, match=reason):
        backend.open(SandboxSpec((program,)))


def test_the_preloads_of_dsbench_cover_the_late_imports_of_its_programs(backend: Local) -> None:
    box = backend.open(SandboxSpec(tuple(conf.load("env", "dsbench").preload)))
    code = """
import sys
before = set(sys.modules)
import pandas, sklearn.linear_model
sklearn.linear_model.LinearRegression().fit(pandas.DataFrame({"x": [0.0, 1.0]}), [0.0, 1.0])
print(sorted(set(sys.modules) - before))
"""
    assert box.run(code).stdout == "[]\n"
    box.close()


def test_programs_that_read_models_find_the_code_of_common_ones_read(backend: Local) -> None:
    box = backend.open(SandboxSpec(("sklearn.linear_model",)))
    code = """
import sys
from sklearn.linear_model import Ridge
reads = sys.modules["sandbox.guest.reads"].reads
known = reads.cache_info().currsize
reads(Ridge, "predict")
print(known >= 6, reads.cache_info().currsize == known)
"""
    assert box.run(code).stdout == "True True\n"
    box.close()

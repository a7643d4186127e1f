"""The artifact store returns what was stored, whatever its folder contains and whatever a guest claims."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from envs.episode.provenance import last_changes
from envs.pipeline import PipelineEnv
from envs.types import Role, Task
from sandbox.artifacts import ArtifactCheck
from sandbox.base import Backend, FileInfo, Limits, Sandbox, SandboxSpec
from sandbox.store import ArtifactStore, StoreError, check_path
from tests.fakes import FakeSandbox, FakeScenario, program
from tests.sandbox.backends import local, or_skip

ROOT = Path(__file__).parents[2]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def info(path: str, data: bytes) -> FileInfo:
    return FileInfo(path, len(data), digest(data))


@pytest.fixture(params=["memory", "disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return str(tmp_path / "store") if request.param == "disk" else None


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    built = or_skip(local)
    yield built
    built.close()


@pytest.fixture
def box() -> Iterator[FakeSandbox]:
    opened = FakeSandbox(SandboxSpec())
    yield opened
    opened.close()


def test_stored_content_is_returned_for_its_digest(folder: str | None) -> None:
    store = ArtifactStore(folder)
    for data in (b"", b"x", os.urandom(1 << 20), b"x"):
        assert store.put(data) == digest(data)
        assert digest(data) in store
        assert store.get(digest(data)) == data


def test_a_missing_or_invalid_digest_is_refused(folder: str | None) -> None:
    store = ArtifactStore(folder)
    with pytest.raises(KeyError):
        store.get("0" * 64)
    for odd in ("", "x", "../" + "0" * 61, "0" * 63, "A" * 64, "0" * 64 + "\n", "/etc/passwd", "\ud800"):
        assert odd not in store
        with pytest.raises(ValueError, match="not a sha256"):
            store.get(odd)


def test_a_full_store_raises_and_keeps_its_items(folder: str | None) -> None:
    store = ArtifactStore(folder, max_items=2, max_bytes=10)
    store.put(b"12345")
    with pytest.raises(StoreError, match="6 more bytes do not fit"):
        store.put(b"123456")
    store.put(b"1")
    with pytest.raises(StoreError, match="has 2 items"):
        store.put(b"2")
    assert store.put(b"1") == digest(b"1")
    assert store.get(digest(b"12345")) == b"12345"


def test_a_store_on_disk_outlives_its_process_and_counts_what_was_there(tmp_path: Path) -> None:
    ArtifactStore(str(tmp_path), max_items=1).put(b"old")
    store = ArtifactStore(str(tmp_path), max_items=1)
    assert store.get(digest(b"old")) == b"old"
    with pytest.raises(StoreError, match="has 1 items of 3 bytes"):
        store.put(b"new")


def test_many_processes_write_the_same_content_at_once(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom sandbox.store import ArtifactStore\nstore = ArtifactStore(sys.argv[1])\n"
        "for n in range(200): assert store.get(store.put(bytes([n]) * 50_000))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait(120) for process in running] == [0] * 4
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        digest(bytes([n]) * 50_000) for n in range(200)
    )


def test_changed_content_is_never_returned(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    name = store.put(b"right")
    (tmp_path / name).write_bytes(b"wrong")
    with pytest.raises(StoreError, match="not what was stored"):
        store.get(name)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_anything_but_a_regular_file_is_neither_followed_nor_read(kind: str, tmp_path: Path) -> None:
    outside, place = tmp_path / "outside", tmp_path / "store" / digest(b"right")
    outside.write_bytes(b"right")  # the very content: it is the link that is refused
    store = ArtifactStore(str(tmp_path / "store"))
    if kind == "link":
        place.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    assert place.name not in store
    with pytest.raises(StoreError):
        store.get(place.name)
    if kind == "folder":
        with pytest.raises(OSError, match="directory"):
            store.put(b"right")
    else:
        store.put(b"right")
        assert store.get(place.name) == b"right"
        assert not place.is_symlink()
        assert outside.read_bytes() == b"right"


def test_a_store_s_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError, match="link"):
        ArtifactStore(str(tmp_path / "link"))


# ---- files of sandboxes


def test_files_go_from_one_sandbox_to_another(folder: str | None, backend: Backend) -> None:
    store = ArtifactStore(folder)
    one, two = backend.open(SandboxSpec()), backend.open(SandboxSpec())
    one.run(
        "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('deep'); open('d', 'wb').write(bytes(9))"
    )
    assert store.collect(one, one.list()) == one.list()
    store.restore(two, one.list())
    assert two.list() == one.list()
    assert two.read("a/b/c") == b"deep"
    one.close()
    two.close()


def test_only_what_the_store_lacks_is_read(folder: str | None, box: FakeSandbox) -> None:
    store = ArtifactStore(folder)
    box.write("a", b"same")
    store.collect(box, box.list())
    box.read = None  # type: ignore[assignment,method-assign]
    assert store.collect(box, box.list()) == box.list()


def test_a_digest_is_computed_and_not_taken_from_the_listing(folder: str | None, box: FakeSandbox) -> None:
    store = ArtifactStore(folder)
    box.write("a", b"truth")
    for claim in (replace(info("a", b"truth"), sha256="0" * 64), FileInfo("a", 5, ""), FileInfo("a", 1, "x")):
        assert store.collect(box, [claim]) == (info("a", b"truth"),)
    assert "0" * 64 not in store


def test_what_a_hostile_listing_names_is_left_out(folder: str | None, box: FakeSandbox) -> None:
    store = ArtifactStore(folder)
    box.write("a", b"x")
    names = ("../a", "/etc/passwd", "gone", ".hidden", "", "a\0", "\ud800", "x" * 256, "a/" * 8 + "a", "a\n")
    assert store.collect(box, [*(FileInfo(name, 1, "1" * 64) for name in names), info("a", b"x")]) == (
        info("a", b"x"),
    )


def test_files_beyond_the_limits_are_left_out(folder: str | None, box: FakeSandbox) -> None:
    store = ArtifactStore(folder)
    for name in "abcd":
        box.write(name, name.encode() * 100)
    listing = box.list()
    assert store.collect(box, listing, max_files=2) == listing[:2]
    assert store.collect(box, listing, max_bytes=250) == listing[:2]
    liars = [replace(file, size=0, sha256="") for file in listing]
    assert store.collect(box, liars, max_bytes=250) == listing[:2]


def test_a_file_larger_than_file_mb_is_left_out(backend: Backend) -> None:
    store = ArtifactStore()
    box = backend.open(SandboxSpec(limits=Limits(file_mb=1)))
    box.run("open('big', 'wb').write(bytes(1 << 21)); open('small', 'w').write('x')")
    assert store.collect(box, box.list()) == (info("small", b"x"),)
    box.close()


def test_nothing_is_restored_unless_all_can_be(folder: str | None, box: FakeSandbox) -> None:
    store = ArtifactStore(folder)
    fine = FileInfo("fine", 1, store.put(b"x"))
    for bad, kind in (
        (replace(fine, path="../x"), ValueError),
        (replace(fine, sha256=""), ValueError),
        (replace(fine, sha256="0" * 64), KeyError),
    ):
        with pytest.raises(kind):
            store.restore(box, [fine, bad])
        assert box.list() == ()


@pytest.mark.parametrize("path", ["a", "a/b.txt", "ä b", "x" * 255, "/".join("abcdefgh")])
def test_plain_paths_are_accepted(path: str) -> None:
    check_path(path)


# ---- replay


class _Recorder(FakeScenario):
    """Stores all files after every turn."""

    def __init__(self, store: ArtifactStore) -> None:
        super().__init__()
        self.store = store
        self.roles = tuple(replace(role, can_run_code=True, max_turns=1) for role in self.roles)

    def check(self, task: Task, role: Role, files: object, sandbox: Sandbox) -> tuple[ArtifactCheck, ...]:
        self.store.collect(sandbox, sandbox.list())
        return ()


PROGRAMS = (
    "open('a.txt', 'w').write('1')\nprint('made')",
    "open('b.txt', 'w').write(str(int(open('a.txt').read()) + 1))\nprint('changed')",
    "open('c.txt', 'w').write(open('b.txt').read() * 2)\nprint(open('b.txt').read())",
)


def test_an_episode_is_replayed_from_any_turn_and_with_one_turn_replaced(
    folder: str | None, backend: Backend
) -> None:
    store = ArtifactStore(folder)
    env = PipelineEnv(_Recorder(store), backend)
    env.reset(seed=3)
    for code in PROGRAMS:
        env.step(program(code))
    turns = env.turns
    assert [turn.agent for turn in turns] == ["maker", "changer", "teller"]
    for start in range(3):
        box = backend.open(SandboxSpec())
        store.restore(box, turns[start].files_before)
        for turn in turns[start:]:
            assert box.list() == turn.files_before
            again = box.run(turn.code or "")
            assert turn.result is not None
            assert (again.status, again.stdout) == (turn.result.status, turn.result.stdout)
            assert box.list() == turn.files_after
        box.close()
    box = backend.open(SandboxSpec())
    store.restore(box, turns[1].files_before)
    box.run(PROGRAMS[1].replace("+ 1", "+ 41"))
    assert box.run(PROGRAMS[2]).stdout == "42\n"
    box.close()
    writers = last_changes(turns)
    assert {path: (writer.agent, writer.turn) for path, writer in writers.items()} == {
        "a.txt": ("maker", 0),
        "b.txt": ("changer", 1),
        "c.txt": ("teller", 2),
    }
    assert store.get(writers["c.txt"].sha256 or "") == b"22"

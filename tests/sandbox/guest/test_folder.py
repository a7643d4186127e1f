"""What the guest does with a work folder is bounded, whatever a program left in it."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from sandbox.guest.folder import MAX_ENTRIES, MAX_NESTED, MAX_VISITED, Folder, Usage

MB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(str(tmp_path), disk_mb=8, file_mb=4)
    yield made
    os.close(made.fd)


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def read_bytes(folder: Folder) -> int:
    """Lists the folder; returns how many bytes it read for that."""
    read, total = folder.read, 0

    def counted(path: str) -> bytes:
        nonlocal total
        data = read(path)
        total += len(data)
        return data

    with patch.object(folder, "read", counted):
        list(folder.files())
    return total


def test_a_listing_hashes_no_more_than_the_disk_holds(folder: Folder, tmp_path: Path) -> None:
    for number in range(40):
        sparse(tmp_path / f"s{number:02}", 4 * MB)
    sparse(tmp_path / "terabyte", 1 << 40)
    assert read_bytes(folder) <= 8 * MB
    listed = {path: (size, digest) for path, size, digest in folder.files()}
    assert len(listed) == 41
    assert listed["terabyte"] == (1 << 40, "")


def test_files_without_content_do_not_keep_others_from_being_hashed(folder: Folder, tmp_path: Path) -> None:
    for number in range(10):
        sparse(tmp_path / f"a{number}", 4 * MB)
    (tmp_path / "result").write_bytes(b"x" * 3 * MB)
    digests = {path: digest for path, _, digest in folder.files()}
    assert digests["result"] == hashlib.sha256(b"x" * 3 * MB).hexdigest()


def test_hard_links_are_hashed_once(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3 * MB)
    for number in range(300):
        os.link(tmp_path / "a", tmp_path / f"b{number}")
    assert read_bytes(folder) == 3 * MB
    assert len({digest for _, _, digest in folder.files()}) == 1


def test_a_file_that_grows_while_it_is_hashed_costs_its_former_size(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * MB)
    stat = os.fstat

    def grows(fd: int) -> os.stat_result:
        info = stat(fd)
        os.truncate(tmp_path / "a", 1 << 40)
        return info

    with patch.object(os, "fstat", grows):
        assert len(folder.read("a")) == MB


def test_a_look_visits_a_bounded_number_of_entries(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.guest.folder.MAX_VISITED", 50)
    (tmp_path / "d").mkdir()
    for number in range(80):
        for name in (f".hidden{number}", f"file{number}", f"d/file{number}"):
            (tmp_path / name).touch()
    with patch.object(os, "stat", wraps=os.stat) as visited:
        assert len(list(folder.files())) <= 50
        assert folder.usage(alone=False).entries == 50
        assert visited.call_count <= 100


def test_usage_counts_allocated_bytes_and_every_kind_of_entry(folder: Folder, tmp_path: Path) -> None:
    sparse(tmp_path / "terabyte", 1 << 40)
    (tmp_path / ".hidden").write_bytes(b"x" * MB)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / os.fsdecode(b"\xff" * 255)).touch()
    usage = folder.usage(alone=False)
    assert (usage.entries, usage.nested) == (5, False)
    assert MB <= usage.size < 2 * MB
    assert [path for path, _, _ in folder.files()] == ["terabyte"]


def test_what_is_nested_too_deeply_is_noticed_and_removed(folder: Folder, tmp_path: Path) -> None:
    make = "import os\nfor _ in range(500): os.mkdir('d'); os.chdir('d')\nopen('f', 'w').write('x')"
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, check=True)
    (tmp_path / "kept").write_text("x")
    assert folder.usage(alone=False).nested
    folder.remove_nested()
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]
    assert not folder.usage(alone=False).nested


def test_a_full_folder_may_be_tidied_but_not_grow(folder: Folder) -> None:
    limits = folder.limits(Usage(9 * MB, MAX_ENTRIES + 5))
    assert not Usage(9 * MB, MAX_ENTRIES + 4).exceeds(limits)
    assert Usage(9 * MB, MAX_ENTRIES + 6).exceeds(limits)
    assert Usage(9 * MB + 1, 1).exceeds(limits)
    assert Usage(0, 0, nested=True).exceeds(limits)
    assert MAX_ENTRIES < MAX_VISITED and MAX_NESTED > 8  # noqa: PT018

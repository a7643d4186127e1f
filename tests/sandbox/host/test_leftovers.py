"""The owners of work folders."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from sandbox.host.leftovers import work_folders

NAME = "sandbox-c5d6dc12-8761-44f7-b9de-ddb92bd46ae5.4026531836.9015.2883017-f3e2oe0t"


def test_a_folder_belongs_only_to_the_launcher_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in (NAME, "sandbox-other"):
        (tmp_path / name).mkdir()
    assert work_folders([7, 9015]) == [tmp_path / NAME]
    for number in (8761, 4026531836, 2883017):  # parts of the boot id, namespace and start time
        assert work_folders([number]) == []

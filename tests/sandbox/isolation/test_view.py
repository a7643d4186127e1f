"""What of the machine is visible in a sandbox: never our own packages, wherever they are installed."""

from pathlib import Path

import pytest

from sandbox.isolation import view


def test_a_folder_with_a_hidden_part_is_replaced_by_its_other_parts(tmp_path: Path) -> None:
    for name in ("site/numpy", "site/envs/dsbench", "site/conf", "other"):
        (tmp_path / name).mkdir(parents=True)
    hidden = [str(tmp_path / "site/envs"), str(tmp_path / "site/conf")]
    assert list(view.without(str(tmp_path / "site"), hidden)) == [str(tmp_path / "site/numpy")]
    assert list(view.without(str(tmp_path / "other"), hidden)) == [str(tmp_path / "other")]
    assert list(view.without(hidden[0], hidden)) == []


def test_our_packages_and_installed_libraries_are_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("site/envs", "site/sandbox", "site/numpy", "python3/dist-packages"):
        (tmp_path / name).mkdir(parents=True)
    site = str(tmp_path / "site")
    monkeypatch.setattr("site.getsitepackages", lambda: [site])
    monkeypatch.setattr(view, "base", lambda: [str(tmp_path / "python3")])
    assert {f"{site}/envs", f"{site}/sandbox", site, f"{tmp_path}/python3/dist-packages"} <= {*view.hidden()}


def test_this_checkout_is_not_visible() -> None:
    checkout = str(Path(__file__).parents[3])
    assert not [path for path in view.base() if (checkout + "/").startswith(path + "/")]


def lay_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes an installation with a linked folder of libraries; returns ``root``."""
    for folder in ("lib/python3/site/envs", "lib/python3/site/numpy", "apart/coaches", "bin"):
        (root / folder).mkdir(parents=True)
    (root / "lib64").symlink_to("lib")
    (root / "bin/python").symlink_to(root / "bin/python3")
    (root / "bin/python3").touch()
    (root / "lib/python3/site/coaches").symlink_to(root / "apart/coaches")
    paths = [f"{root}/bin/python", f"{root}/lib64"]
    monkeypatch.setattr(view, "base", lambda: paths)
    monkeypatch.setattr("site.getsitepackages", lambda: [f"{root}/lib64/python3/site"])
    monkeypatch.setattr("site.getusersitepackages", lambda: f"{root}/home/site")
    return str(root)


def test_a_guest_s_root_has_links_and_their_targets_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = lay_out(tmp_path, monkeypatch)
    (tmp_path / "more/yaml").mkdir(parents=True)
    libraries = [f"{root}/lib64/python3/site/numpy", f"{root}/more/yaml"]
    assert view.View(libraries).shown() == {
        f"{root}/bin/python": f"{root}/bin/python3",
        f"{root}/bin/python3": None,
        f"{root}/lib64": "lib",
        f"{root}/lib": None,
        f"{root}/more/yaml": None,
    }


def test_folders_of_libraries_are_masked_where_links_lead_to_them_apart_from_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = lay_out(tmp_path, monkeypatch)
    numpy = f"{root}/lib64/python3/site/numpy"
    assert view.View().masked() == {f"{root}/lib/python3/site": []}
    assert view.View([numpy]).masked() == {f"{root}/lib/python3/site": [f"{root}/lib/python3/site/numpy"]}
    monkeypatch.setattr(view, "base", lambda: [f"{root}/lib64", f"{root}/apart"])
    assert list(view.View().masked()) == [f"{root}/apart/coaches", f"{root}/lib/python3/site"]


def test_temporary_files_do_not_hide_what_is_installed_below_the_usual_folder() -> None:
    assert view.View(["/tmp/somewhere/numpy"]).temporary() == view.WORK

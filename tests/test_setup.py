"""Setting up: done once, nothing twice, and a sentence when something is missing."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from project import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="make and shell scripts")


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    "tools/bootstrap.py, pointed at an empty folder."
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "tools" / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in [("ROOT", ""), ("VENV", ".venv"), ("INSIDE", ".venv/bin/python")]:
        monkeypatch.setattr(module, name, str(tmp_path / path))
    return module


def fake_python(folder: Path, version: str, lacks: str = "nothing") -> str:
    "A program that answers as a Python of that version without one module would."
    path = folder / "python"
    path.write_text(f'#!/bin/sh\ncase "$2" in *{lacks}*) exit 1;; esac\necho {version}\n')
    path.chmod(0o755)
    return str(path)


def test_a_wrong_version_is_named(bootstrap, tmp_path):
    old = fake_python(tmp_path, "3 9")
    with pytest.raises(SystemExit, match=r"is 3\.9\. Python 3\.11, 3\.12 or 3\.13 is needed"):
        bootstrap.choose(old)


def test_a_python_that_does_not_run_is_named(bootstrap):
    with pytest.raises(SystemExit, match=r"PYTHON=/no/python does not run"):
        bootstrap.choose("/no/python")


def test_without_a_good_python_the_found_ones_are_named(bootstrap, monkeypatch):
    monkeypatch.setattr(bootstrap, "version_of", lambda name: (3, 14) if "thon3" in name else None)
    with pytest.raises(SystemExit, match=r"only 3\.14 was found"):
        bootstrap.choose(None)


def test_a_python_without_venv_says_what_to_install(bootstrap, tmp_path):
    bare = fake_python(tmp_path, "3 12", lacks="ensurepip")
    with pytest.raises(
        SystemExit, match=r"lacks the module ensurepip.*apt install python3\.12-venv"
    ):
        bootstrap.check_modules(bare)


def test_a_full_disk_is_said_before_anything_is_fetched(bootstrap, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda folder: usage(1e10, 9e9, 1e9))
    with pytest.raises(SystemExit, match=r"1\.0 GB are free in .*; 5 GB are needed"):
        bootstrap.check_disk()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("Failed to establish: NewConnectionError(...)", "cannot be reached"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: No matching distribution found for x", "no version for this machine"),
        ("ERROR: something new", "install.log"),
    ],
)
def test_a_failed_installation_is_explained(bootstrap, said, sentence):
    with pytest.raises(SystemExit, match=sentence):
        bootstrap.explain(["Collecting x\n", said + "\n"])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    "A project as make sees it, with an environment that is already set up."
    for name in ("Makefile", "settings.ini", "setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ready").touch()
    return tmp_path


def make(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    "What make would do."
    command = [shutil.which("make") or pytest.skip("no make"), "--dry-run", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHON": "", **env}
    )


@pytest.mark.parametrize("target", ["demo", "test", "lab", "docs", "bench"])
def test_what_is_set_up_is_not_set_up_again(project, target):
    assert "bootstrap" not in make(project, target).stdout


@pytest.mark.parametrize("changed", ["settings.ini", "setup.py", "constraints.txt"])
def test_changed_requirements_are_installed(project, changed):
    (project / ".venv" / "ready").touch()
    os.utime(project / ".venv" / "ready", (1000, 1000))
    (project / changed).touch()
    assert "bootstrap" in make(project, "test").stdout


def test_no_python_at_all_is_said(project):
    (project / ".venv" / "ready").unlink()
    done = make(project, "demo", PATH="/nowhere")
    assert done.returncode and "Python was not found. Install Python 3.11" in done.stderr


def requirements() -> list[Requirement]:
    "Everything that settings.ini asks for."
    parser = ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    lists = [value for name, value in parser["DEFAULT"].items() if name.endswith("requirements")]
    return [Requirement(text) for value in lists for text in value.split()]


def test_constraints_fit_the_requirements():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and line[0] != "#"]
    pinned = {pin.name.replace("_", "-").lower(): str(pin.specifier)[2:] for pin in pins}
    for wanted in requirements():
        version = pinned[wanted.name.replace("_", "-").lower()]
        assert wanted.specifier.contains(version), f"{wanted} is pinned to {version}"


def test_this_python_is_one_of_the_promised():
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)

"""What users get: a wheel from the source archive, working without the tools we develop with."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from project import MEASURED, PACKAGE, ROOT, numbers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links to installed packages")

DEVELOPMENT = ["nbdev", "fastcore", "execnb", "jupytext", "pytest", "ruff", "mypy", "smalldocs"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A folder with the source archive, and the wheel that was built from it."
    out = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns(".*", "_docs", "_proc", "demo", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, dirs_exist_ok=True, ignore=ignored)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    "The built wheel."
    return next(built.glob("*.whl"))


def key(name: str) -> str:
    "A distribution's name as the index knows it."
    return re.sub(r"[-_.]+", "-", name).lower()


def needed_by(requirements: list[str]) -> dict[str, Distribution]:
    "The installed distributions that these requirements bring along, themselves included."
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        extras = wanted.extras or {""}
        if wanted.marker and not any(wanted.marker.evaluate({"extra": e}) for e in extras):
            continue
        name = key(wanted.name)
        if name not in found:
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:
                pytest.fail(f"{wanted} is required and not installed")
            for text in found[name].requires or []:
                inner = Requirement(text)
                marker = inner.marker
                if not marker or any(marker.evaluate({"extra": e}) for e in extras):
                    waiting.append(Requirement(text.partition(";")[0]))
    return found


def link(packages: dict[str, Distribution], target: Path) -> None:
    "Make exactly these distributions importable in `target`, without copying gigabytes."
    for package in packages.values():
        home = Path(str(package.locate_file("")))
        tops = {file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "/")}
        for top in tops - {"__pycache__"}:
            place = target / top
            if not place.exists():
                place.symlink_to(home / top)


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "The Python of an environment that holds the wheel and its runtime requirements, nothing else."
    folder = tmp_path_factory.mktemp("user")
    venv.create(folder, with_pip=False)
    inside = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([inside, "-c", ask], text=True).strip())
    with zipfile.ZipFile(wheel) as archive:
        meta = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(meta).decode().splitlines()
    required = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist:")]
    link(needed_by([r for r in required if "extra ==" not in r]), site)
    install = [sys.executable, "-m", "pip", "--python", inside, "install", "--no-deps"]
    subprocess.run([*install, "--no-index", "--quiet", wheel], check=True)
    return inside


def run(python: Path, code: str, cwd: Path) -> subprocess.CompletedProcess:
    "Run code as a user would, away from the clone."
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run([python, "-c", code], cwd=cwd, env=env, capture_output=True, text=True)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {f"imgrec/{path.name}" for path in PACKAGE.glob("*.py")}
    expected |= {"imgrec/py.typed", "imgrec/imagenet_names.txt"}
    assert {name for name in names if name.startswith("imgrec/")} == expected
    assert all(name.startswith(("imgrec/", "imgrec-")) for name in names), names
    assert any(name.endswith("LICENSE") for name in names)
    assert wheel.stat().st_size < 1e6


def test_the_source_archive_can_be_built_from(built):
    archive = next(built.glob("*.tar.gz"))
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"settings.ini", "setup.py", "pyproject.toml", "README.md", "LICENSE"} <= names
    assert "imgrec/imagenet_names.txt" in names


def test_the_names_of_imagenet_come_along(python, tmp_path):
    ask = "from imgrec.backbones import imagenet_names; print(len(imagenet_names()))"
    done = run(python, ask, tmp_path)
    assert done.stdout.strip() == "1000", done.stderr[-3000:]


def test_the_tools_we_develop_with_are_not_needed(python, tmp_path):
    ask = f"from importlib.util import find_spec; print([n for n in {DEVELOPMENT} if find_spec(n)])"
    assert run(python, ask, tmp_path).stdout.strip() == "[]"


def test_every_module_can_be_imported(python, tmp_path):
    names = [f"imgrec.{name}" for name in numbers()]
    code = f"import importlib, imgrec\nfor name in {names}: importlib.import_module(name)\n"
    done = run(python, code + "print(imgrec.__file__)", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert str(ROOT) not in done.stdout, "the clone was imported, not the wheel"
    assert not done.stderr, done.stderr


@pytest.mark.skipif("export" not in numbers(), reason="needs imgrec.export")
def test_a_user_can_train_save_and_predict(python, tmp_path):
    code = """
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.export import load_classifier, save
from imgrec.models import build_model
from imgrec.train import fit
splits = load(digits().split(seed=0))
run = fit(build_model("small_cnn", splits.spec), splits, epochs=1, progress="none")
save(run, "digits")
print(load_classifier("digits").spec.class_names)
"""
    done = run(python, code, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'9'" in done.stdout


@pytest.mark.skipif("cli" not in numbers(), reason="needs imgrec.cli")
def test_the_command_line_answers_at_once(python, tmp_path):
    command = [python.parent / "imgrec", "--help"]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    MEASURED["imgrec --help"] = f"{time.perf_counter() - started:.2f} s"
    assert done.returncode == 0, done.stderr
    for word in ("scan", "train", "tune", "evaluate", "predict"):
        assert word in done.stdout
    ask = "import sys, imgrec.cli; print('tensorflow' in sys.modules)"
    assert run(python, ask, tmp_path).stdout.strip() == "False"

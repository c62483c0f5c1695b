"""The linters of code, types and workflows have nothing to say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT


def silent(*command: str | Path) -> None:
    "Run a tool of this environment and show what it says if it is not content."
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{done.stdout[-6000:]}{done.stderr[-3000:]}", pytrace=False)


def tool(name: str) -> str:
    "A program beside this Python, also where the environment is not activated."
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name} is missing: pip install -e '.[dev]'"
    return found


def test_ruff_finds_nothing():
    silent(tool("ruff"), "check", ".")


def test_ruff_would_format_nothing():
    silent(tool("ruff"), "format", "--check", "--diff", "nbs", "tests", "tools", "setup.py")


def test_mypy_finds_nothing():
    silent(sys.executable, "-m", "mypy")


def workflows() -> list[Path]:
    "The workflows of the project."
    return sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_workflows_follow_their_schema():
    schema = "vendor.github-workflows"
    silent(tool("check-jsonschema"), "--builtin-schema", schema, *workflows())


def test_dependabot_follows_its_schema():
    file = ROOT / ".github" / "dependabot.yml"
    silent(tool("check-jsonschema"), "--builtin-schema", "vendor.dependabot", file)


def test_workflows_are_safe():
    silent(tool("zizmor"), "--offline", "--no-progress", ROOT / ".github")


def test_actions_are_pinned_by_commit():
    for path in workflows():
        for line in path.read_text(encoding="utf-8").splitlines():
            if "uses:" in line:
                commit = line.split("@")[1].split()[0]
                assert len(commit) == 40 and "# v" in line, f"{path.name}: {line.strip()}"

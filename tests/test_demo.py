"""`make demo`: shows where it is, replaces demo/ only by something complete, and fails in words."""

import importlib.util
import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from project import ROOT

WRITES = """
import json, os
from pathlib import Path
folder = Path(os.environ["IMGREC_DEMO"])
(folder / "classifier").mkdir()
told = {"accuracy": 0.99, "low": 0.97, "high": 0.996, "n": 270}
(folder / "result.json").write_text(json.dumps(told))
print(folder / "classifier")
"""


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    "tools/demo.py, pointed at an empty project."
    spec = importlib.util.spec_from_file_location("demo", ROOT / "tools" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "DEMO", tmp_path / "demo")
    monkeypatch.setattr(module, "NOTEBOOK", tmp_path / "first.ipynb")
    return module


def write(path: Path, *code: str) -> None:
    "A notebook with a section for every cell of code."
    cells = [new_markdown_cell("# Title")]
    for number, source in enumerate(code, start=1):
        cells += [new_markdown_cell(f"## Step {number}\n\nSome prose."), new_code_cell(source)]
    nbformat.write(new_notebook(cells=cells), path)


def add_text(path: Path, text: str) -> None:
    "Add a cell of prose at the end."
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(new_markdown_cell(text))
    nbformat.write(notebook, path)


def test_demo_shows_its_steps_and_ends_with_the_accuracy(demo, capsys):
    write(demo.NOTEBOOK, "#| hide\nsecret = 1", WRITES, "#| eval: false\nthis would fail")
    add_text(demo.NOTEBOOK, "Go on with [the next](02_next.ipynb).")
    demo.main()
    demo.main()  # again, over what is there
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["Step", "1"], ["Step", "2"]]
    assert lines[-1].startswith(
        "Test accuracy 99.0 % on 270 pictures (95 % interval 97.0 to 99.6 %)"
    )
    page = (demo.DEMO / "first_classifier.html").read_text(encoding="utf-8")
    assert "Some prose." in page and "demo/classifier" in page
    assert "secret = 1" not in page and ".demo-" not in page and "would fail" not in page
    assert 'href="../02_next.ipynb"' in page.replace("/./", "/")
    assert (demo.DEMO / "classifier").is_dir()
    assert sorted(p.name for p in demo.ROOT.iterdir()) == ["demo", "first.ipynb"]


def test_a_failed_demo_leaves_the_last_good_one(demo, capsys):
    demo.DEMO.mkdir()
    (demo.DEMO / "first_classifier.html").write_text("the last good one")
    write(demo.NOTEBOOK, "raise ValueError('no pictures')")
    with pytest.raises(SystemExit, match="the step failed with ValueError: no pictures"):
        demo.main()
    assert (demo.DEMO / "first_classifier.html").read_text() == "the last good one"
    assert not list(demo.ROOT.glob(".demo-*"))


def test_a_demo_that_is_stopped_says_so(demo):
    write(demo.NOTEBOOK, "raise KeyboardInterrupt")
    with pytest.raises(SystemExit, match=r"stopped\. Nothing was changed"):
        demo.main()


def test_a_demo_without_its_notebook_says_so(demo):
    with pytest.raises(SystemExit, match=r"first\.ipynb is missing"):
        demo.main()


def test_the_last_line_names_interval_and_number(demo, tmp_path):
    told = {"accuracy": 0.9889, "low": 0.9678, "high": 0.9962, "n": 270}
    (tmp_path / "result.json").write_text(json.dumps(told))
    assert "98.9 % on 270 pictures (95 % interval 96.8 to 99.6 %)" in demo.last_line(tmp_path)

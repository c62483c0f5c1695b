"""The README and the site: links lead somewhere, from GitHub as from the site."""

import importlib.util
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from project import ROOT, cells, notebooks


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    "tools/docs.py, with an empty folder as its site."
    spec = importlib.util.spec_from_file_location("docs", ROOT / "tools" / "docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "OUT", tmp_path)
    return module


def links(text: str) -> list[str]:
    "Where the Markdown links and pictures of a text lead, inside the project, without anchors."
    text = re.sub(r"(?s)```.*?```|`[^`\n]*`", "", text)
    found = re.findall(r"\]\(([^)\s]+)", text)
    return [unquote(link.partition("#")[0]) for link in found if not re.match(r"[a-z]+:|#", link)]


def test_links_between_notebooks_lead_somewhere():
    bad = []
    for path in notebooks():
        for cell in cells(path):
            if cell.kind == "markdown":
                lost = [link for link in links(cell.source) if not (path.parent / link).exists()]
                bad += [f"{cell}: {link}" for link in lost]
    if bad:
        pytest.fail("\n".join(["These links lead nowhere:", *bad]), pytrace=False)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_a_page_at_the_top_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert [link for link in links(text) if not (ROOT / link).exists()] == []


def test_links_of_the_readme_start_at_the_top(docs):
    text = '[a](00_core.ipynb#x) ![b](images/b.png) [c](https://d.org) [e](#f) <img src="g.png">'
    assert docs.from_the_top(text) == (
        "[a](nbs/00_core.ipynb#x) ![b](nbs/images/b.png) [c](https://d.org) [e](#f) "
        '<img src="nbs/g.png">'
    )


def test_the_readme_has_a_picture_and_twelve_lines(docs):
    text = docs.readme()
    assert re.search(r"!\[[^\]]+\]\(nbs/images/", text)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert sum(1 for line in blocks[0].splitlines() if line) <= 12
    for word in ("make demo", "make test", "pip install", "colab", "mybinder"):
        assert word in text


def test_dead_links_inside_the_site_are_listed(docs, tmp_path):
    page = tmp_path / "a.html"
    page.write_text(
        '<h2 id="here"></h2><a href="#here"></a><a href="b.html"></a><a href="#no"></a>'
    )
    with pytest.raises(SystemExit) as stopped:
        docs.check_links([page])
    told = str(stopped.value).splitlines()
    assert [line.split()[0] for line in told[1:]] == ["a.html#no", "b.html"]


def test_links_to_the_published_site_stay_here(docs, tmp_path):
    (tmp_path / "catalog.html").write_text('<h3 id="catalog"></h3>')
    page = tmp_path / "tutorials" / "first.html"
    page.parent.mkdir()
    page.write_text('<a href="https://x.io/y/catalog.html#catalog.split">Catalog.split</a>')
    docs.stay_here([tmp_path / "catalog.html", page], "https://x.io/y")
    assert 'href="../catalog.html#catalog"' in page.read_text()
    assert docs.check_links([tmp_path / "catalog.html", page])["links inside"] == 1

"""Build the site and the README from the notebooks, without a network.

    python tools/docs.py site               the site into _docs/, its links checked
    python tools/docs.py readme [--check]   README.md from nbs/index.ipynb; --check only compares

On GitHub Pages, Quarto renders the site. It cannot be installed from a package index, so here
smalldocs renders it from the same _quarto.yml, under the same addresses: `tools/bin/quarto` stands
in for Quarto, and nbdev's own command does the rest.
"""

import argparse
import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "_docs"
NUMBER = re.compile(r"\b\d+[a-z]?_(\w+)\.ipynb")  # 02_catalog.ipynb becomes catalog.html


# ---- README


def from_the_top(text: str) -> str:
    "Markdown whose relative links and pictures start at nbs/, with links that start one level up."
    start = r"(\]\(|(?:src|href)=\")"
    return re.sub(start + r"(?![a-z]+:|#|/)(?:\./)?", r"\1nbs/", text)


def shown_outputs(cell: nbformat.NotebookNode) -> str:
    "The text that a cell printed or returned, as a block; pictures are linked, not stored, here."
    texts = [o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout"]
    texts += [
        o.data.get("text/plain", "") for o in cell.outputs if o.output_type == "execute_result"
    ]
    body = "".join(texts).rstrip()
    return f"\n\n```text\n{body}\n```" if body else ""


def readme() -> str:
    "README.md: prose, visible code and its text of nbs/index.ipynb; code in a row is one block."
    notebook = nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4)
    parts = ["<!-- Made from nbs/index.ipynb by python tools/docs.py readme. Edit it there. -->"]
    for cell in notebook.cells:
        source = "\n".join(s for s in cell.source.splitlines() if not s.startswith("#|")).strip()
        if cell.cell_type == "markdown":
            parts.append(from_the_top(source))
        elif cell.cell_type == "code" and "#| hide" not in cell.source and source:
            block = f"```python\n{source}\n```"
            if parts[-1].startswith("```python") and parts[-1].endswith("```"):
                block = parts.pop().removesuffix("```") + block.replace("```python", "", 1)
            parts.append(block + shown_outputs(cell))
    return "\n\n".join(parts) + "\n"


def write_readme(check: bool) -> None:
    "Write README.md, or end with a sentence if it is not what would be written."
    path, new = ROOT / "README.md", readme()
    if not check:
        path.write_text(new, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != new:
        sys.exit("README.md is older than nbs/index.ipynb. Run: python tools/docs.py readme")


# ---- the site


def render(processed: Path) -> None:
    "What `quarto render` does: the processed notebooks in `processed` become pages in its _docs/."
    from smalldocs.site import build

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "nbs"
        shutil.copytree(processed, copy, ignore=shutil.ignore_patterns("_docs", ".*"))
        for path in sorted(copy.rglob("*")):
            if path.suffix in (".ipynb", ".yml", ".md", ".qmd"):
                text = path.read_text(encoding="utf-8")
                path.write_text(NUMBER.sub(r"\1.ipynb", text), encoding="utf-8")
            path.rename(path.with_name(NUMBER.sub(r"\1.ipynb", path.name)))
        site = build(copy, quiet=True)
        shutil.rmtree(processed / "_docs", ignore_errors=True)
        shutil.move(site.out, processed / "_docs")
    said = ("output-file is not read", "broken link")  # done above, and checked below
    for warning in site.warnings:
        if not any(words in warning for words in said):
            print(f"  {warning}", file=sys.stderr)


def stand_in(arguments: list[str]) -> None:
    "Answer as `quarto` would, as far as nbdev asks it."
    if arguments[:1] != ["render"]:
        sys.exit("This stands in for Quarto and only renders. For more, install Quarto itself.")
    if "README.md" in arguments:
        out = Path.cwd() / "_docs"
        out.mkdir(exist_ok=True)
        (out / "README.md").write_text(readme(), encoding="utf-8")
    else:
        render(Path.cwd())


class Links(html.parser.HTMLParser):
    "What a page points at, and what in it can be pointed at."

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        "Collect addresses and ids."
        for name, value in attrs:
            if name in ("href", "src") and value and tag != "base":
                self.links.append(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)


def anchors_of(page: Path) -> Links:
    "The links and anchors of a page."
    found = Links()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def stay_here(pages: list[Path], address: str) -> None:
    """Turn links to the published site into links to the same page here.

    nbdev links `Catalog.split` to an anchor that exists only for the class: then it is the class's.
    """
    anchors = {page: anchors_of(page).anchors for page in pages}
    pattern = re.compile(
        r'(<a[^>]*href=")' + re.escape(address) + r"/?([^\"#]*\.html)(?:#([^\"]*))?"
    )
    for page in pages:
        up = "../" * len(page.relative_to(OUT).parts[:-1])

        def here(match: re.Match, up: str = up) -> str:
            start, target, anchor = match.groups()
            known = anchors.get(OUT / target, set())
            options = [a for a in (anchor, (anchor or "").partition(".")[0]) if a in known]
            return f"{start}{up}{target}" + (f"#{options[0]}" if options else "")

        text = page.read_text(encoding="utf-8")
        page.write_text(pattern.sub(here, text), encoding="utf-8")


def check_links(pages: list[Path]) -> Counter[str]:
    "Count the links; end with a list if one inside the site leads nowhere."
    read = {page: anchors_of(page) for page in pages}
    count, dead = Counter(pages=len(pages)), {}
    for page, found in read.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                count["pictures" if parts.scheme == "data" else "links outside, not followed"] += 1
                continue
            count["links inside"] += 1
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            anchors = read[target].anchors if target in read else None
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchors is not None and anchor and anchor not in anchors):
                goal = f"{os.path.relpath(target, OUT)}{'#' if anchor else ''}{anchor}"
                dead.setdefault(goal, []).append(page.relative_to(OUT).as_posix())
    if dead:
        lines = [f"  {goal} (from {on[0]}, {len(on)} in all)" for goal, on in sorted(dead.items())]
        sys.exit("\n".join(["These links lead nowhere:", *lines]))
    return count


def site() -> None:
    "Build everything into _docs/ and check it."
    from nbdev.config import get_config

    started = time.monotonic()
    settings = get_config(cfg_name="settings.ini", path=ROOT)
    env = dict(os.environ, PATH=f"{ROOT / 'tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env.update(DOCS_PYTHON=sys.executable, PYTHONPATH=str(ROOT / "tools"))
    print("Reading the notebooks ...", flush=True)
    shutil.rmtree(ROOT / "_proc", ignore_errors=True)  # its cache misses changes in other modules
    build = "from nbdev.quarto import nbdev_docs; nbdev_docs()"
    if subprocess.call([sys.executable, "-c", build], cwd=ROOT, env=env):
        sys.exit("The site could not be built; what nbdev said stands above.")
    pages = sorted(OUT.rglob("*.html"))
    stay_here(pages, settings.doc_host + settings.doc_baseurl)
    count = check_links(pages)
    print("Checked: " + ", ".join(f"{n} {name}" for name, n in count.items()) + ".")
    print(f"Built in {time.monotonic() - started:.0f} s. Open _docs/index.html")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["site", "readme"])
    parser.add_argument("--check", action="store_true", help="compare only")
    options = parser.parse_args()
    if options.command == "readme":
        write_readme(options.check)
    else:
        site()


if __name__ == "__main__":
    if sys.argv[1:2] == ["quarto"]:
        stand_in(sys.argv[2:])
    else:
        main()

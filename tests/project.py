"""What the tests know about the project: notebooks and their cells, modules and functions."""

import ast
import io
import json
import re
import tokenize
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
PACKAGE = ROOT / "imgrec"

MEASURED: dict[str, str] = {}  # what tests measured on the way, shown at the end of the run


@dataclass(frozen=True)
class Cell:
    "A cell of a notebook, with its `#|` directives apart."

    notebook: Path
    index: int
    kind: str
    source: str
    outputs: tuple

    @property
    def directives(self) -> set[str]:
        "Such as `export`, `hide`, `slow`, `eval: false`."
        return {m[1].strip() for m in re.finditer(r"^#\|(.*)$", self.source, re.MULTILINE)}

    @property
    def lines(self) -> list[str]:
        "The source without directives."
        return [line for line in self.source.splitlines() if not line.startswith("#|")]

    @property
    def exported(self) -> bool:
        return any(d.split()[0] in ("export", "exports", "exporti") for d in self.directives if d)

    @property
    def hidden(self) -> bool:
        return "hide" in self.directives

    @property
    def tree(self) -> ast.Module:
        "The parsed code, without the lines that only IPython understands."
        kept = ["pass" if line[:1] in ("%", "!") else line for line in self.lines]
        return ast.parse("\n".join(kept))

    def __str__(self) -> str:
        return f"{self.notebook.relative_to(ROOT)}, cell {self.index}"


@cache
def cells(path: Path) -> list[Cell]:
    "The cells of the notebook at `path`."
    stored = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        Cell(path, i, c["cell_type"], "".join(c["source"]), tuple(c.get("outputs", ())))
        for i, c in enumerate(stored)
    ]


@cache
def notebooks() -> list[Path]:
    "Every notebook: the modules by number, then the other pages, tutorials and benchmarks."
    found = [p for p in NBS.rglob("*.ipynb") if not any(s[0] in "._" for s in p.parts[-3:])]
    return sorted(found, key=lambda p: (len(p.parts), p.parts))


def api_notebooks() -> list[Path]:
    "The notebooks that become modules."
    return [path for path in notebooks() if module_name(path)]


def pages() -> list[Path]:
    "The notebooks that export nothing: index, tutorials, explanations, benchmarks."
    return [path for path in notebooks() if not module_name(path)]


@cache
def module_name(path: Path) -> str | None:
    "The module that the notebook at `path` exports to."
    for cell in cells(path):
        for directive in cell.directives:
            if directive.startswith("default_exp"):
                return directive.split()[1]
    return None


@cache
def numbers() -> dict[str, str]:
    "Module -> the number of its notebook, such as `02` or `02a`."
    return {str(module_name(path)): path.name.partition("_")[0] for path in api_notebooks()}


def modules() -> list[Path]:
    "The modules that were made from notebooks."
    return [PACKAGE / f"{name}.py" for name in numbers()]


@cache
def parsed(path: Path) -> ast.Module:
    "The syntax tree of a Python file."
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def comments(path: Path) -> dict[int, str]:
    "Line number -> comment, of a Python file."
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}


@dataclass(frozen=True)
class Function:
    "A function or method of a module."

    module: Path
    owner: ast.ClassDef | None
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def name(self) -> str:
        return f"{self.owner.name}.{self.node.name}" if self.owner else self.node.name

    @property
    def length(self) -> int:
        return (self.node.end_lineno or 0) - self.node.lineno + 1

    @property
    def public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))

    @property
    def decorators(self) -> set[str]:
        "The names of what stands above the function after an @."
        names = [d.func if isinstance(d, ast.Call) else d for d in self.node.decorator_list]
        return {n.attr if isinstance(n, ast.Attribute) else getattr(n, "id", "") for n in names}

    def __str__(self) -> str:
        return f"{self.module.relative_to(ROOT)}:{self.node.lineno} {self.name}"


@cache
def functions() -> list[Function]:
    "Every function and method of the modules; what stands inside a function belongs to it."
    found = []
    for module in modules():
        for node in parsed(module).body:
            owner = node if isinstance(node, ast.ClassDef) else None
            for inner in owner.body if owner else [node]:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    found.append(Function(module, owner, inner))
    return found


def public_names(cell: Cell) -> list[str]:
    "The public functions and classes that an exported cell defines."
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [n.name for n in cell.tree.body if isinstance(n, kinds) and n.name[0] != "_"]


def is_test(cell: Cell) -> bool:
    "Whether a notebook's cell asserts something."
    return (
        cell.kind == "code"
        and not cell.exported
        and bool(re.search(r"\bassert\b|\btest_\w+\(|expect_error\(", cell.source))
    )


def lines_of_code(lines: list[str]) -> int:
    "Lines that are neither blank nor only a comment."
    return sum(1 for line in lines if line.strip() and not line.lstrip().startswith("#"))


def line_counts() -> tuple[int, int]:
    "Lines that test (tests/ and asserting cells), and lines that are exported."
    exported = tests = 0
    for path in api_notebooks():
        for cell in cells(path):
            exported += lines_of_code(cell.lines) if cell.exported else 0
            tests += lines_of_code(cell.lines) if is_test(cell) else 0
    for path in sorted((ROOT / "tests").glob("*.py")):
        tests += lines_of_code(path.read_text(encoding="utf-8").splitlines())
    return tests, exported

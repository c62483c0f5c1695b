"""The project keeps its own rules: layers, budgets, documentation, notebooks in order."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import (
    MEASURED,
    NBS,
    PACKAGE,
    ROOT,
    Cell,
    Function,
    api_notebooks,
    cells,
    comments,
    functions,
    is_test,
    line_counts,
    module_name,
    modules,
    notebooks,
    numbers,
    pages,
    parsed,
    public_names,
)

TOP_LEVEL = {
    *(".binder", ".ci", ".github", ".gitignore"),
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile", "README.md"),
    *("constraints.txt", "pyproject.toml", "settings.ini", "setup.py"),
    *("imgrec", "nbs", "tests", "tools"),
}
HAND_WRITTEN = {
    "__init__.py",
    "_modidx.py",
    "_quiet.py",
    "__main__.py",
}  # in imgrec/, beside the exported modules


def check(violations: list[str], rule: str) -> None:
    "Fail with one line for every place that breaks the rule."
    if violations:
        pytest.fail("\n".join([rule, *violations]), pytrace=False)


# ---- layers


def imported_modules(tree: ast.AST) -> list[str]:
    "The modules of imgrec that a piece of code imports."
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(["imgrec"] * bool(node.level) + [node.module] * bool(node.module))
            names = [f"imgrec.{alias.name}" for alias in node.names]
            found += names if base == "imgrec" else [base]
    own = [name.split(".")[1] for name in found if name.startswith("imgrec.")]
    return [name for name in own if name in numbers()]


def test_modules_import_only_from_smaller_numbers():
    seen = ast.parse("from .core import x\nfrom imgrec import data\nimport imgrec.train\nimport os")
    there = [name for name in ("core", "data", "train") if name in numbers()]
    assert imported_modules(seen) == there, "this test would not see an import"
    bad = []
    for path in modules():
        here = numbers()[path.stem]
        for other in imported_modules(parsed(path)):
            if not numbers()[other] < here:
                bad.append(f"{path.name} ({here}) imports {other} ({numbers()[other]})")
    check(bad, "A notebook imports only from notebooks with a smaller number:")


def test_notebooks_do_not_look_ahead():
    bad = []
    for path in api_notebooks():
        here = path.name.partition("_")[0]
        for cell in cells(path):
            if cell.kind != "code":
                continue
            ahead = [m for m in imported_modules(cell.tree) if numbers()[m] > here]
            bad += [f"{cell} imports {other} ({numbers()[other]})" for other in ahead]
    check(bad, "Also the examples of a notebook use only smaller numbers:")


def test_no_star_import_and_no_patch():
    bad = []
    for path in notebooks():
        for cell in cells(path):
            if cell.kind != "code":
                continue
            if re.search(r"^\s*from \S+ import \*", cell.source, re.MULTILINE):
                bad.append(f"{cell}: star import")
            if re.search(r"^\s*@patch\b", cell.source, re.MULTILINE):
                bad.append(f"{cell}: @patch")
    check(bad, "Names are imported one by one, and classes are written in one piece:")


# Where the caller's own names are the keywords: options of a builder, parameters, an event's fields
OWN_NAMES = {"build_model", "Space.add", "Space.edit", "Journal.append"}


def test_no_kwargs_tunnels():
    tunnels = [f for f in functions() if f.public and f.node.args.kwarg]
    bad = [str(f) for f in tunnels if f.name not in OWN_NAMES]
    check(bad, "Arguments are named, not handed on as **kwargs:")


IMPORTS = """
import importlib, sys, time
started = time.perf_counter()
import imgrec
print(time.perf_counter() - started)
for modules, heavy in STEPS:
    for name in modules:
        importlib.import_module(name)
    loaded = [name for name in heavy if name in sys.modules]
    assert not loaded, f"{modules} load {loaded}"
"""


def test_import_imgrec_is_light():
    heavy = ["tensorflow", "keras", "matplotlib", "pandas", "numpy"]
    light = [f"imgrec.{m}" for m in ("core", "space", "journal", "cli") if m in numbers()]
    middle = [f"imgrec.{m}" for m in ("images", "catalog") if m in numbers()]
    steps = [(["imgrec"], heavy), (light, heavy[:4]), (middle, heavy[:3])]
    code = IMPORTS.replace("STEPS", repr(steps))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    MEASURED["import imgrec"] = f"{1000 * float(done.stdout):.0f} ms"


# ---- budgets


def test_functions_are_short():
    bad = [f"{f} has {f.length} lines" for f in functions() if f.length > 40]
    check(bad, "A function has at most 40 lines:")
    long = [f"{f} has {f.length} lines" for f in functions() if f.length > 25]
    share = len(long) / max(1, len(functions()))
    check(
        long if share > 0.05 else [], f"95 % of functions have at most 25 lines ({share:.1%} more):"
    )


def test_modules_are_short():
    bad = []
    for path in api_notebooks():
        exported = sum(len(cell.lines) for cell in cells(path) if cell.exported)
        if exported > 300:
            bad.append(f"{path.name} exports {exported} lines")
    check(bad, "A module has at most 300 lines; a larger one is split by idea:")


def cell_budget(cell: Cell) -> int:
    "Lines that an exported cell may have: one function alone may be as long as a function may be."
    if any(isinstance(node, ast.ClassDef) for node in cell.tree.body):
        return 80
    return 40 if len(cell.tree.body) == 1 else 30


def test_exported_cells_hold_one_idea():
    bad = []
    for path in api_notebooks():
        for cell in cells(path):
            if cell.kind != "code" or not cell.exported:
                continue
            lines = sum(1 for line in cell.lines if line.strip())
            if lines > cell_budget(cell):
                bad.append(f"{cell} has {lines} lines, its budget is {cell_budget(cell)}")
    check(bad, "An exported cell has at most 30 lines, one function 40, a class 80:")


def test_lines_are_at_most_100_wide():
    bad = []
    for path in notebooks():
        for cell in cells(path):
            if cell.kind == "code":
                wide = [line for line in cell.lines if len(line) > 100]
                bad += [f"{cell}: {line[:60]}..." for line in wide]
    check(bad, "A line has at most 100 characters:")


def test_a_quarter_to_two_thirds_of_a_page_is_prose():
    bad = []
    for path in [*api_notebooks(), *pages()]:
        kinds = [cell.kind for cell in cells(path)]
        share = kinds.count("markdown") / len(kinds)
        if not 0.25 <= share <= 0.67 and path.stem != "index":
            bad.append(f"{path.relative_to(ROOT)}: {share:.0%}")
    check(bad, "Prose is a quarter to two thirds of a notebook's cells:")


def test_public_names_are_shown_within_three_cells():
    bad = []
    for path in api_notebooks():
        code = [cell for cell in cells(path) if cell.kind == "code" and not cell.hidden]
        for place, cell in enumerate(code):
            if not cell.exported:
                continue
            around = code[max(0, place - 3) : place + 4]
            near = [f"{c.source}\n{c.outputs}" for c in around if not c.exported]
            for name in public_names(cell):
                if not name.endswith("Error") and not any(
                    re.search(rf"\b{name}\b", source) for source in near
                ):
                    bad.append(f"{cell}: {name}")
    check(bad, "A public name is shown in a visible example within three code cells:")


def test_tests_are_at_least_two_fifths_of_the_exported_lines():
    tests, exported = line_counts()
    assert tests >= 0.4 * exported, f"{tests} lines test {exported} exported lines"


def test_every_api_notebook_asserts_something():
    bad = [p.name for p in api_notebooks() if not any(is_test(cell) for cell in cells(p))]
    check(bad, "A notebook asserts what it says:")


# ---- documentation


def undocumented(function: Function) -> list[str]:
    """What of a function's arguments and return lacks a comment, or a line of its own.

    A method without arguments says what it returns in its docstring.
    """
    node, notes, missing = function.node, comments(function.module), []
    spec = node.args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
    named += [a for a in (spec.vararg, spec.kwarg) if a]
    named = [a for a in named if a.arg not in ("self", "cls")]
    lines = [a.lineno for a in named]
    for arg in named:
        if lines.count(arg.lineno) > 1 or arg.lineno == node.lineno:
            missing.append(f"{arg.arg} (needs a line of its own)")
        elif arg.lineno not in notes and (arg.end_lineno or 0) not in notes:
            missing.append(arg.arg)
    plain = node.returns is None or ast.unparse(node.returns) in ("None", "'None'", "NoReturn")
    bare = function.owner is not None and not named
    if not plain and not bare and (node.returns.end_lineno or 0) not in notes:
        missing.append("what it returns")
    return missing


def test_every_public_argument_is_documented():
    bad = []
    for function in functions():
        if function.node.name.startswith("on_"):  # Keras calls it, and says with what
            continue
        if function.public and (missing := undocumented(function)):
            bad.append(f"{function}: {', '.join(missing)}")
    check(bad, "Every argument and return of a public function has a comment on its line:")


def test_every_field_is_documented():
    bad = []
    for module in modules():
        for node in parsed(module).body:
            marks = [ast.unparse(d) for d in getattr(node, "decorator_list", [])]
            if not isinstance(node, ast.ClassDef) or not any("dataclass" in m for m in marks):
                continue
            for field in node.body:
                if not isinstance(field, ast.AnnAssign) or "ClassVar" in ast.unparse(
                    field.annotation
                ):
                    continue
                name = ast.unparse(field.target)
                lines = range(field.lineno - 1, (field.end_lineno or 0) + 1)
                if name[0] != "_" and not any(n in comments(module) for n in lines):
                    bad.append(f"{module.name}:{field.lineno} {node.name}.{name}")
    check(bad, "Every field of a dataclass has a comment:")


def test_everything_has_a_docstring():
    named = [f for f in functions() if not re.fullmatch(r"__\w+__|_repr_\w+_", f.node.name)]
    bad = [str(f) for f in named if not ast.get_docstring(f.node)]
    for module in modules():
        classes = [n for n in parsed(module).body if isinstance(n, ast.ClassDef)]
        bad += [f"{module.name} {n.name}" for n in classes if not ast.get_docstring(n)]
        bad += (
            []
            if ast.get_docstring(parsed(module))
            else [f"{module.name}: no promise under # title"]
        )
    check(bad, "A line under the name says what it promises:")


# ---- notebooks


def test_modules_are_in_step_with_their_notebooks(tmp_path):
    shutil.copytree(NBS, tmp_path / "nbs", ignore=shutil.ignore_patterns(".*", "_*"))
    shutil.copy(ROOT / "settings.ini", tmp_path)
    (tmp_path / "imgrec").mkdir()
    shutil.copy(PACKAGE / "__init__.py", tmp_path / "imgrec")
    export = "from nbdev.doclinks import nbdev_export; nbdev_export()"
    done = subprocess.run(
        [sys.executable, "-c", export], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    fresh = {p.name: p.read_text(encoding="utf-8") for p in (tmp_path / "imgrec").glob("*.py")}
    stored = {p.name: p.read_text(encoding="utf-8") for p in PACKAGE.glob("*.py")}
    odd = [name for name in fresh.keys() | stored.keys() if name not in HAND_WRITTEN]
    odd = [name for name in odd if fresh.get(name) != stored.get(name)]
    check(sorted(odd), "Run nbdev_export (or nbdev_update, if the module was edited). They differ:")
    assert fresh["_modidx.py"] == stored["_modidx.py"], "Run nbdev_export: the index is old"


def test_notebooks_are_clean():
    from nbdev.clean import clean_nb
    from nbdev.config import get_config

    get_config(cfg_name="settings.ini", path=ROOT)
    bad = []
    for path in notebooks():
        stored = json.loads(path.read_text(encoding="utf-8"))
        cleaned = json.loads(json.dumps(stored))
        clean_nb(cleaned, clean_ids=True)
        if cleaned != stored:
            bad.append(str(path.relative_to(ROOT)))
    check(bad, "Run python tools/notebooks.py clean. Not clean:")


def expects_output(source: ast.Module) -> bool:
    "Whether running a cell must leave something to see: it ends in a value, or prints."
    if not source.body:
        return False
    last = source.body[-1]
    if isinstance(last, ast.Expr) and isinstance(
        last.value, ast.Name | ast.Attribute | ast.Subscript
    ):
        return True
    calls = [
        n.value for n in source.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
    ]
    return any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls)


def test_notebooks_hold_their_outputs_and_no_errors():
    bad = []
    for path in notebooks():
        for cell in cells(path):
            if cell.kind != "code":
                continue
            if any(out["output_type"] == "error" for out in cell.outputs):
                bad.append(f"{cell} shows an error")
            skipped = {"eval: false", "slow", "export"} & cell.directives or cell.exported
            silent = cell.source.rstrip().endswith(";")
            if not (skipped or silent or cell.outputs) and expects_output(cell.tree):
                bad.append(f"{cell} has no output")
    check(bad, "Run python tools/notebooks.py run on these:")


def test_imports_stand_in_cells_of_their_own():
    bad = []
    for path in api_notebooks():
        for cell in cells(path):
            if cell.kind != "code" or cell.exported or "eval: false" in cell.directives:
                continue
            kinds = {isinstance(node, ast.Import | ast.ImportFrom) for node in cell.tree.body}
            inside = any(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.walk(cell.tree))
            if inside and kinds != {True}:
                bad.append(str(cell))
    check(bad, "Building the site runs cells that import, without the cells before. Split these:")


def test_every_page_is_in_the_sidebar():
    listed = re.findall(r"- (\S+\.ipynb)", (NBS / "sidebar.yml").read_text(encoding="utf-8"))
    there = {path.relative_to(NBS).as_posix() for path in notebooks()}
    odd = [f"{name} is not in nbs/sidebar.yml" for name in sorted(there - set(listed))]
    odd += [
        f"{name} is in nbs/sidebar.yml, and there is no such notebook"
        for name in listed
        if name not in there
    ]
    check(odd, "The sidebar lists every page:")


def test_notebooks_keep_their_size():
    bad = []
    for path in notebooks():
        budget = 150 if module_name(path) else 400
        size = path.stat().st_size / 1024
        if size > budget:
            bad.append(f"{path.relative_to(ROOT)} has {size:.0f} KB, its budget is {budget}")
    check(bad, "Pictures at 72 to 96 dpi, and few:")


def test_notebooks_name_no_machine():
    places = [str(ROOT), str(Path.home())] if str(Path.home()) != "/" else [str(ROOT)]
    bad = []
    for path in notebooks():
        text = path.read_text(encoding="utf-8")
        bad += [
            f"{path.relative_to(ROOT)} names {place}" for place in places if place + "/" in text
        ]
    check(bad, "Outputs name no folder of the machine that made them:")


def test_readme_is_in_step_with_index():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "docs.py", "readme", "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# ---- the whole


def tracked() -> list[str]:
    "The files that git holds, or will hold."
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a clone")
    return done.stdout.splitlines()


def test_only_known_files_at_the_top():
    odd = sorted({name.split("/")[0] for name in tracked()} - TOP_LEVEL)
    check(odd, "Files at the top are few and known; put these elsewhere:")


def test_make_has_five_targets():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", text, re.MULTILINE)
    assert targets == ["demo", "test", "lab", "docs", "bench"]

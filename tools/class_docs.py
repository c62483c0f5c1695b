"""How the site shows a class: as the module holds it, so that the comments of its fields appear.

nbdev runs a notebook's cells to document them, and a class from a cell has no source to read
comments from. settings.ini names `Renderer`; building the site needs `PYTHONPATH=tools`.
"""

from importlib import import_module
from inspect import isclass

from nbdev.showdoc import BasicMarkdownRenderer


def from_module(symbol):
    "The class of the same name in its module; anything else as it is."
    if not isclass(symbol) or symbol.__module__ != "__main__":
        return symbol
    for module, names in import_module("imgrec._modidx").d["syms"].items():
        if f"{module}.{symbol.__name__}" in names:
            return getattr(import_module(module), symbol.__name__)
    return symbol


class Renderer(BasicMarkdownRenderer):
    "nbdev's own, for classes read from their module."

    def __init__(self, sym, name=None, title_level=3):
        super().__init__(from_module(sym), name=name, title_level=title_level)

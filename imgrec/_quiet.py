"""TensorFlow's greetings, held back.

While it is imported, TensorFlow writes lines about CUDA and oneDNN straight to the process's
standard error, before its own log level counts. A learner reads them as a failure. Here the
first import of TensorFlow runs with standard error caught; informational lines are dropped and
everything else is passed on.
"""

import importlib.abc
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec

GREETING = re.compile(
    rb"I0000 |WARNING: All log messages before absl::InitializeLog|INFO: Created TensorFlow Lite"
)


@contextmanager
def greetings_dropped() -> Iterator[None]:
    "Catch what is written to file descriptor 2; pass on all but the greetings."
    try:
        original = os.dup(2)
    except OSError:  # a program without standard error: nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            caught.seek(0)
            for line in caught:
                if not GREETING.match(line):
                    os.write(2, line)


class QuietTensorFlow(importlib.abc.MetaPathFinder):
    "Finds TensorFlow once, as Python would, and quiets its first import."

    def find_spec(self, name, path=None, target=None) -> ModuleSpec | None:
        "The usual spec with a quiet loader for `tensorflow`, None for all else."
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module) -> None:
            with greetings_dropped():
                run(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def not_retracing(record: logging.LogRecord) -> bool:
    "False for the advice about retracing, which every second model of a search would set off."
    return "triggered tf.function retracing" not in record.getMessage()


def install() -> None:
    "Quiet the first import of TensorFlow in this process, if it is still to come."
    logging.getLogger("tensorflow").addFilter(not_retracing)
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, QuietTensorFlow())

"""The command `imgrec`, as `python -m imgrec`."""

from imgrec.cli import app

app(prog_name="imgrec")

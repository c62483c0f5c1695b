"""Results of long runs, kept by name and seed in a table, so that runs add up."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from imgrec.intervals import interval


def stored(
    table: Path,  # A CSV file, made where it is not there
    name: str,  # What was run
    seed: int,  # And with which seed
    run: Callable[..., dict[str, float]],  # `run(seed=seed, **options)`, where the row is missing
    **options: Any,  # What else the run takes
) -> dict[str, Any]:  # The row
    "A row of the table; what is not there is run now and written down."
    kept = pd.read_csv(table) if table.exists() else pd.DataFrame(columns=["name", "seed"])
    found = kept[(kept["name"] == name) & (kept["seed"] == seed)]
    if found.empty:
        found = pd.DataFrame([{"name": name, "seed": seed, **run(seed=seed, **options)}])
        table.parent.mkdir(exist_ok=True)
        pd.concat([kept, found] if len(kept) else [found]).round(1).to_csv(table, index=False)
    return found.iloc[0].to_dict()


def summary(
    rows: Iterable[dict[str, Any]],  # With name, seed, right, of and seconds
) -> pd.DataFrame:  # A row a name
    "Mean accuracy over the seeds, with the interval that as many pictures leave to a mean score."
    told = {}
    for name, of in pd.DataFrame(rows).groupby("name", sort=False):
        scores = 100 * of["right"] / of["of"]
        score = interval(round(of["right"].mean()), round(of["of"].mean()))
        told[str(name).rpartition(": ")[2]] = {
            "accuracy": f"{scores.mean():.1f} %",
            "95 % interval": f"{100 * score.low:.1f} to {100 * score.high:.1f}",
            "seeds": f"{len(of)}: {scores.min():.1f} to {scores.max():.1f}",
            "epochs": round(of["epochs"].mean()),
            "seconds": round(of["seconds"].mean()),
        }
    return pd.DataFrame.from_dict(told, orient="index").rename_axis(f"n={score.n}")

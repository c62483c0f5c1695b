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
    rows: Iterable[dict[str, Any]],  # Name, seed, right, of, epochs, (processor) seconds
) -> pd.DataFrame:  # A row a name
    "Mean accuracy over the seeds, with the interval that as many pictures leave to a mean score."
    told = {}
    for name, of in pd.DataFrame(rows).groupby("name", sort=False):
        scores = 100 * of["right"] / of["of"]
        places = 2 if of["of"].min() >= 10_000 else 1  # what a single picture moves
        spread = f": {scores.min():.{places}f} to {scores.max():.{places}f}"
        clock = "seconds" if "seconds" in of else "processor seconds"
        score = interval(round(of["right"].mean()), round(of["of"].mean()))
        told[str(name).rpartition(": ")[2]] = {
            "accuracy": f"{scores.mean():.{places}f} %",
            "95 % interval": f"{100 * score.low:.{places}f} to {100 * score.high:.{places}f}",
            "seeds": f"{len(of)}{spread if len(of) > 1 else ''}",
            "epochs": round(of["epochs"].mean()),
            clock: round(of[clock].mean()),
        }
        if "AUC" in of and of["AUC"].notna().all():
            told[str(name).rpartition(": ")[2]]["AUC"] = f"{of['AUC'].mean() / 100:.3f}"
    return pd.DataFrame.from_dict(told, orient="index").rename_axis(f"n={score.n}")

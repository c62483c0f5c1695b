import pandas as pd
def summary_table(table, class_names):
    part = table["split"].replace("", "set aside") if "split" in table else "pictures"
    exploded = table.assign(part=part).explode("label")
    counts = pd.crosstab(exploded["label"], exploded["part"])
    order = [name for name in ("train", "valid", "test", "pictures", "set aside") if name in counts]
    counts = counts.reindex(index=list(class_names), columns=order, fill_value=0)
    counts.loc["all"] = table.assign(part=part)["part"].value_counts().reindex(order, fill_value=0)
    return counts.rename_axis(index=None, columns=None)

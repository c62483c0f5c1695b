"""What is seen of a drawn figure, for the tests of figures."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def own_axes(width: float = 5.0, height: float = 4.0) -> Axes:
    "Axes of a figure that pyplot does not know."
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots()


def texts_of(ax: Axes) -> list[Text]:
    "The texts that are seen in a figure, once it is drawn."
    ax.figure.canvas.draw()
    texts = [*ax.texts, ax.title, ax._left_title]
    texts += ax.get_legend().get_texts() if ax.get_legend() else []
    for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
        low, high = sorted(axis.get_view_interval())
        assert np.isfinite([low, high]).all()
        ticks = axis.get_major_ticks()
        texts += [axis.label, *(tick.label1 for tick in ticks if low <= tick.get_loc() <= high)]
    return [text for text in texts if text.get_text()]


def cut_off(ax: Axes) -> list[str]:
    "Texts of a drawn figure that reach over its border."
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(ax)]
    frame = ax.figure.bbox.padded(1.5)
    return [
        text
        for text, box in boxes
        if box.x0 < frame.x0 or box.y0 < frame.y0 or box.x1 > frame.x1 or box.y1 > frame.y1
    ]

"""Curves of the named loss terms, next to nnU-Net's `progress.png`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def plot_loss_curves(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw one curve for each term over the epochs.

    Args:
        curves: Values of each epoch by term; the shortest list counts.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = min((len(values) for values in curves.values()), default=0)
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, values in curves.items():
        training = name.startswith("train/")
        label = name.removeprefix("train/").removeprefix("val/") + ("" if training else " (validation)")
        axes.plot(range(epochs), values[:epochs], label=label, linestyle="-" if training else "--")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss term, weighted")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=110)

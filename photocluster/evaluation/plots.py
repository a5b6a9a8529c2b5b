"""Figures of the measures, as PNG or as one self-contained HTML page.

Needs matplotlib, which is an optional dependency: ``pip install photocluster[plots]``. A figure is a row of panels.
"""

from __future__ import annotations

import html
import importlib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from photocluster.errors import MissingDependency, UsageError
from photocluster.evaluation.clicks import ClicksMeasures
from photocluster.evaluation.detection import DetectionMeasures
from photocluster.evaluation.labels import BoolArray, DoubleArray
from photocluster.evaluation.pair_stream import AllPairs
from photocluster.evaluation.rates import Roc
from photocluster.evaluation.thresholds import ThresholdPoint
from photocluster.records import IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panel = Callable[["Axes"], None]
"""Draws one coordinate system."""

PANEL_INCHES = (5.5, 4.5)
DPI = 120
LOWEST_FAR = 1e-7
"""Left end of a ROC's axis at most: below, even ten million pairs of different people hold one false accept."""


def roc_panel(curves: Mapping[str, Roc], *, title: str = "ROC") -> Panel:
    """Draw TAR (or DIR) against FAR, on a logarithmic axis that starts where one pair alone would stand."""

    def draw(axes: Axes) -> None:
        lowest = max(LOWEST_FAR, min((1 / curve.different for curve in curves.values()), default=1e-3))
        for name, curve in curves.items():
            axes.step(np.maximum(curve.far, lowest / 2), curve.tar, where="post", label=name)
        axes.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1.01), title=title)
        axes.set(xlabel="false accept rate", ylabel="true accept rate")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="lower right")

    return draw


def histogram_panel(pairs: AllPairs, *, title: str = "Distances") -> Panel:
    """Draw the distances of the same and of different people, each as shares of its own kind."""
    return _histogram(*pairs.histogram(), title=title)


def distances_panel(distances: DoubleArray, same: BoolArray, *, title: str = "Distances") -> Panel:
    """Draw the same for pairs one by one; infinite distances are left out."""
    edges = np.linspace(0, 2, 101)
    finite = np.isfinite(distances)
    counts = [np.histogram(distances[finite & kind], edges)[0] for kind in (same, ~same)]
    return _histogram(edges, counts[0].astype(np.int64), counts[1].astype(np.int64), title=title)


def _histogram(edges: DoubleArray, same: IntArray, different: IntArray, *, title: str) -> Panel:
    def draw(axes: Axes) -> None:
        for name, counts in (("same person", same), ("different people", different)):
            axes.stairs(counts / max(int(counts.sum()), 1), edges, fill=True, alpha=0.5, label=name)
        axes.set(xlabel="distance", ylabel="share of pairs in 0.02", xlim=(0, 2), title=title)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="upper left")

    return draw


def threshold_panel(points: Sequence[ThresholdPoint], *, title: str = "Clustering by threshold") -> Panel:
    """Draw pairwise precision, recall and F, and BCubed F, over the distance threshold."""

    def draw(axes: Axes) -> None:
        distances = [point.distance for point in points]
        axes.plot(distances, [point.pairwise.f for point in points], label="pairwise F")
        axes.plot(distances, [point.bcubed.f for point in points], label="BCubed F")
        axes.plot(distances, [point.pairwise.precision for point in points], ":", label="pairwise precision")
        axes.plot(distances, [point.pairwise.recall for point in points], ":", label="pairwise recall")
        axes.set(xlabel="distance threshold", ylim=(0, 1.01), title=title)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="best")

    return draw


def clicks_panel(ways: Mapping[str, ClicksMeasures], *, title: str = "Clicks") -> Panel:
    """Draw the share of faces named right over the number of decisions."""

    def draw(axes: Axes) -> None:
        for name, measured in ways.items():
            axes.step(np.arange(len(measured.right)), measured.right, where="post", label=name)
        axes.set(xlabel="decisions", ylabel="faces named right", ylim=(0, 1.01), title=title)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="lower right")

    return draw


def recall_panel(measured: DetectionMeasures, *, title: str = "Recall by face size") -> Panel:
    """Draw the share of faces found in each size bin, with the number of faces on the bar."""

    def draw(axes: Axes) -> None:
        bins = {name: counts for name, counts in measured.by_size.items() if counts.faces}
        bars = axes.bar(list(bins), [counts.found / counts.faces for counts in bins.values()])
        axes.bar_label(bars, [f"{counts.found} of {counts.faces}" for counts in bins.values()])
        axes.set(xlabel="size in pixels", ylabel="share of faces found", ylim=(0, 1.1), title=title)

    return draw


def write_plot(path: Path, panels: Sequence[Panel], *, title: str = "photocluster evaluate") -> None:
    """Write the panels side by side to `path`, which ends in .png or .html.

    Raises
    ------
    UsageError, MissingDependency
        As `check_plot` says, or there is nothing to draw.
    """
    check_plot(path)
    if not panels:
        raise UsageError(f"{path}: there is nothing to draw")
    from matplotlib.figure import Figure

    # The object interface: no window, no global state, any thread.
    figure = Figure(figsize=(PANEL_INCHES[0] * len(panels), PANEL_INCHES[1]), dpi=DPI, layout="constrained")
    for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        panel(axes)
    figure.suptitle(title)
    buffer = BytesIO()
    if path.suffix.lower() == ".png":
        figure.savefig(buffer, format="png")
        path.write_bytes(buffer.getvalue())
    else:
        figure.savefig(buffer, format="svg")
        path.write_text(_page(title, buffer.getvalue().decode("utf-8")), encoding="utf-8")


def check_plot(path: Path) -> None:
    """Say before long work whether a plot could be written at its end.

    Raises
    ------
    UsageError
        The path ends neither in .png nor in .html, or its folder is not there.
    MissingDependency
        matplotlib is not installed.
    """
    if path.suffix.lower() not in {".png", ".html"}:
        raise UsageError(f"{path}: a plot is written as .png or .html; give a name that ends so")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.absolute().parent}; make it first")
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise MissingDependency("plots need matplotlib: pip install photocluster[plots]") from error


def _page(title: str, svg: str) -> str:
    """Return an HTML page around the <svg> element; without the XML prolog, which HTML does not know."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{margin:1rem;background:#fff}svg{max-width:100%;height:auto}</style></head>\n"
        f"<body>{svg[svg.index('<svg') :]}</body></html>\n"
    )

"""The figure of the sweep: time here by batch size, and predicted time on each device, by network and precision."""

from __future__ import annotations

from typing import Any

import matplotlib

matplotlib.use("Agg")  # a file is written, no window is needed
import matplotlib.pyplot as plt

_COLORS = {"float32": "#1f4e79", "float16": "#6fa8dc", "int8": "#c55a11", "int8-dynamic": "#f4b183"}
_MARKERS = {"float32": "o", "float16": "s", "int8": "^", "int8-dynamic": "v"}


def plot(rows: list[dict[str, Any]], path: str, conditions: str) -> None:
    """Write the figure: one column for each network. rows: as in the CSV."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    figure, axes = plt.subplots(
        2, len(networks), figsize=(3.4 * len(networks) + 1.6, 9.5), sharey="row", squeeze=False, height_ratios=(1, 1.5)
    )
    for column, network in enumerate(networks):
        own = [row for row in rows if row["network"] == network]
        _plot_here(axes[0][column], [row for row in own if row["device"] == "none"])
        _plot_devices(axes[1][column], [row for row in own if row["device"] != "none" and row["batch"] == 1])
        axes[0][column].set_title(f"{network}\n{own[0]['macs']:,} MACs", fontsize=11)
    axes[0][0].set_ylabel("measured here, us per row")
    axes[1][0].set_ylabel("device: predicted for one row")
    handles, labels = axes[0][0].get_legend_handles_labels()
    crossed = axes[1][0].plot([], [], "x", color="black", markersize=8)
    figure.legend([*handles, *crossed], [*labels, "does not fit"], loc="upper center", ncols=5, frameon=False)
    figure.text(0.01, 0.005, conditions, fontsize=8, color="#555555")
    figure.tight_layout(rect=(0, 0.02, 1, 0.96))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plot_here(axis: Any, rows: list[dict[str, Any]]) -> None:
    for precision, color in _COLORS.items():
        points = [(row["batch"], row["here_us_per_row"]) for row in rows if row["precision"] == precision]
        axis.plot(*zip(*points, strict=True), marker=_MARKERS[precision], color=color, label=precision, markersize=5)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    batches = sorted({row["batch"] for row in rows})
    axis.set_xticks(batches, [str(batch) for batch in batches])
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("batch size")
    axis.grid(alpha=0.3, which="both", axis="y")


def _plot_devices(axis: Any, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(row["device"] for row in rows))
    for offset, precision in enumerate(("float32", "float16", "int8")):  # int8-dynamic is predicted as int8
        for row in (row for row in rows if row["precision"] == precision):
            height = names.index(row["device"]) + (offset - 1) * 0.22
            fits = row["predicted_fits"] == "yes"
            marker = _MARKERS[precision] if fits else "x"
            axis.plot(
                row["predicted_ms_per_row"], height, marker, color=_COLORS[precision], markersize=5 if fits else 7
            )
    axis.set_xscale("log")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("predicted ms per row")
    axis.grid(alpha=0.3, axis="x")
    for edge in range(1, len(names)):
        axis.axhline(edge - 0.5, color="#dddddd", linewidth=0.6)

"""Sliders and menus for a running notebook; without a kernel, the figure above them is a static example."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from ktnet_lite.reporting import plots


def play(draw: Callable[..., Figure], alt: str, **controls: Sequence) -> None:
    """Show ``draw`` for the first value of each control and, if ipywidgets is installed, controls to change them.

    Parameters
    ----------
    draw : function
        Function of one value per control, by name, that returns a figure.
    alt : str
        Alternative text of the first figure.
    **controls : sequences
        Values of each control; the first is the initial one.
    """
    plots.show(draw(**{name: values[0] for name, values in controls.items()}), alt)
    try:
        import ipywidgets
    except ImportError:
        return

    def redraw(**chosen: object) -> None:
        plots.show(draw(**chosen), alt)

    boxes = {
        name: ipywidgets.SelectionSlider(options=sorted(values), value=values[0], description=name)
        if all(isinstance(value, (int, float)) for value in values)
        else ipywidgets.Dropdown(options=list(values), value=values[0], description=name)
        for name, values in controls.items()
    }
    ipywidgets.interact_manual.options(manual_name="Draw")(redraw, **boxes)

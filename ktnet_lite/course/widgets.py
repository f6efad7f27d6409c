"""Sliders and menus for a notebook that runs; without a kernel the picture above them says the same once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from ktnet_lite.reporting import plots


def play(draw: Callable[..., Figure], alt: str, **controls: Sequence) -> None:
    """Show ``draw`` for the first value of each control, and, where ipywidgets is there, controls to change them.

    Parameters
    ----------
    draw : function
        Takes one value of each control by name and returns a figure.
    alt : str
        What the first picture shows, for those who cannot see it.
    **controls : sequences
        The values that each may take, the one to begin with first.
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

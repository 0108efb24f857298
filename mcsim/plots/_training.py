"""Figures of fits and latent spaces: losses, paths, grids of decoded paths."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcsim._core.checks import is_whole
from mcsim._core.records import Panel, require_panel
from mcsim.errors import InputError, did_you_mean, raise_all
from mcsim.generators import Latent
from mcsim.plots._style import INK, MISS, PALE, StyledFigure, in_style, plain, sized


@in_style
def losses(generator: Any) -> StyledFigure:
    """Draw the losses of every training step, a facet for each kind of loss.

    Losses show whether a fit diverged. `mcsim.fidelity` measures how close a generator is to
    the data.

    Parameters
    ----------
    generator : fitted generator
        With ``losses`` (step,): generators that are trained by steps.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        For a generator that recorded none.
    """
    recorded = getattr(generator, "losses", {})
    if not recorded:
        raise InputError(
            f"generator: {generator!r} recorded no losses; generators not trained by steps "
            "have none, and neither have fits under jit"
        )
    figure = sized(4 * len(recorded), 3)
    for number, (name, values) in enumerate(recorded.items()):
        axes = figure.add_subplot(1, len(recorded), number + 1)
        axes.plot(np.arange(1, len(values) + 1), values, color=INK, linewidth=0.8)
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.set_xlabel("step")
    return plain(figure)


@in_style
def paths(
    panels: Mapping[str, Panel], column: str, *, units: Sequence[int] = (0, 1, 2, 3)
) -> StyledFigure:
    """Draw the same units' paths of one column, a row of axes for each panel, on one scale.

    Parameters
    ----------
    panels : mapping of str to Panel
        For instance ``{"real": panel, "generated": drawn}``.
    column : str
        The column.
    units : sequence of int
        Positions of the units, modulo the number of units of a panel.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        For an unknown column, panels without names, and units that are not positions.
    """
    if not isinstance(panels, Mapping) or isinstance(panels, Panel) or not panels:
        raise InputError('panels: expected panels by name, such as {"real": panel, "mine": drawn}')
    for panel in panels.values():
        require_panel(panel)
    if (
        isinstance(units, int)
        or not len(units)
        or not all(is_whole(unit) and unit >= 0 for unit in units)
    ):
        raise InputError(f"units: got {units!r}, expected positions of units, such as (0, 1, 2)")
    raise_all(
        [
            f"column: got {column!r}, not in the panel {name!r}{did_you_mean(column, panel)}"
            for name, panel in panels.items()
            if column not in panel
        ]
    )
    values = {
        name: np.asarray(panel[column])[[unit % panel.n_units for unit in units]]
        for name, panel in panels.items()
    }
    everything = np.concatenate([own.ravel() for own in values.values()])
    figure = sized(9, 1.8 * len(panels))
    for number, (name, own) in enumerate(values.items()):
        axes = figure.add_subplot(len(panels), 1, number + 1)
        axes.plot(own.T, color=INK, linewidth=0.8, alpha=0.6)
        axes.set_ylim(everything.min(), everything.max())
        axes.set_title(name, fontsize=10, loc="left")
    return plain(figure)


@in_style
def latent_grid(
    latent: Any, panel: Panel, unit: int, column: str, *, span: float = 1.0, n: int = 5
) -> StyledFigure:
    """Draw the decoded paths around one unit: rows move its first latent, columns its second.

    Parameters
    ----------
    latent : Latent
        The latent space of a `VAE`, from `mcsim.generators.latent`, with at least two dimensions.
    panel : Panel
        The data with the unit.
    unit : int
        Its position; it stands in the middle, in red.
    column : str
        The column to draw.
    span : float
        The latents move from ``-span`` to ``span``.
    n : int
        Rows and columns; odd.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        For a latent space of one dimension, an even ``n``, an unknown unit or column.

    References
    ----------
    Kingma & Welling (2014), Auto-encoding variational Bayes, ICLR, Figure 4.
    """
    require_panel(panel)
    if not isinstance(latent, Latent):
        raise InputError(
            f"latent: got {type(latent).__name__}, expected mcsim.generators.latent(generator)"
        )
    if not is_whole(unit) or not 0 <= unit < panel.n_units:
        raise InputError(f"unit: got {unit!r}, expected a position from 0 to {panel.n_units - 1}")
    mean = np.asarray(latent.encode(panel.take(np.array([unit]))).mean)
    faults = [] if column in panel else [f"column: got {column!r}{did_you_mean(column, panel)}"]
    if mean.shape[1] < 2:
        faults.append("latent: it has one dimension, expected at least two")
    if not is_whole(n) or n < 1 or n % 2 == 0:
        faults.append(f"n: got {n}, expected an odd number: the unit stands in the middle")
    raise_all(faults)
    steps = np.linspace(-span, span, n) if n > 1 else np.zeros(1)
    moves = np.zeros((n * n, mean.shape[1]), np.float32)
    moves[:, 0], moves[:, 1] = np.repeat(steps, n), np.tile(steps, n)
    decoded = np.asarray(latent.decode(mean + moves)[column])
    figure = sized(2.2 * n, 1.5 * n)
    for cell, path in enumerate(decoded):
        axes = figure.add_subplot(n, n, cell + 1)
        own = cell == n * n // 2
        axes.plot(path, color=MISS if own else INK, linewidth=0.8)
        axes.set_ylim(decoded.min(), decoded.max())
        axes.set_xticks([])
        axes.tick_params(labelsize=7)
        axes.grid(color=PALE, linewidth=0.5)
    figure.suptitle(column, fontsize=10)
    figure.supxlabel(f"second latent, from {-span:g} to {span:g}", fontsize=9)
    figure.supylabel(f"first latent, from {span:g} (bottom) to {-span:g} (top)", fontsize=9)
    return plain(figure)

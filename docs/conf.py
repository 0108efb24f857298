"""Sphinx configuration: MyST Markdown, notebooks, autodoc of the public names, the furo theme."""

import os
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx

import mcsim

project = "mcsim"
author = "The mcsim developers"
copyright = "The mcsim developers, MIT license"
version = release = mcsim.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
exclude_patterns = ["_build", "jupyter_execute"]

# Notebooks are Markdown, executed at every build; an error stops it (decision 0057).
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
templates_path = ["_templates"]
html_search_scorer = str(Path(__file__).parent / "_templates" / "scorer.js")
default_role = "literal"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False

# A page for each public name. Fields and attributes are in the docstring of their class; listed are
# the methods that a page shows besides.
autosummary_context = {
    "options_of": {
        "mcsim.Study": {"members": "cells, dgps, methods"},
        "mcsim.Results": {"members": ""},
        "mcsim.Panel": {"members": "n_units, n_periods, with_columns, select, take"},
        "mcsim.Sample": {"exclude-members": "panel, truth, __new__"},
        "mcsim.Estimate": {
            "exclude-members": "value, se, lower, upper, df, p_value, status, __new__"
        },
        "mcsim.Status": {"exclude-members": "__new__"},
        "mcsim.Generator": {"members": "sample"},
        "mcsim.Schema": {"members": "names, replace, select"},
        "mcsim.Comparison": {"members": ""},
        "mcsim.FidelityTable": {"members": "to_markdown"},
        "mcsim.PanelFidelityTable": {"members": "to_markdown"},
        "mcsim.dgps.FactorModel": {"members": "fit, without, covariance"},
        "mcsim.dgps.Bootstrap": {"members": "__call__, truth"},
        "mcsim.dgps.PotentialOutcomes": {"members": "__call__, members, potential_outcomes, truth"},
        "mcsim.generators.VAE": {"members": "fit, fit_members"},
        "mcsim.generators.Autoregressive": {"members": "fit, fit_members, recipe"},
        "mcsim.generators.Flow": {"members": "fit, fit_members"},
        "mcsim.generators.WGAN": {"members": "fit, fit_members, recipe"},
        "mcsim.generators.GAN": {"members": "fit, fit_members"},
        "mcsim.generators.MacroPanel": {"members": "fit, fit_members"},
        "mcsim.generators.FittedPanel": {"members": "sample, with_shocks, caveats"},
        "mcsim.generators.FittedMacroPanel": {"members": "sample, with_shocks, caveats"},
        "mcsim.generators.FittedGenerator": {"members": "sample"},
        "mcsim.generators.Latent": {"members": "encode, decode, reconstruct"},
    }
}

html_theme = "furo"
html_title = "mcsim"
html_static_path = ["_static"]
html_css_files = ["notebooks.css"]
html_extra_path = ["llms.txt"]


def setup(app: Sphinx) -> None:
    """Add what a page of the docs has and a notebook of Jupyter has not."""
    app.connect("doctree-read", offer_notebook, priority=100)  # before downloads are collected


def offer_notebook(app: Sphinx, page: nodes.document) -> None:
    """Put a link to the executed notebook below the title of a page that is one."""
    name = app.env.docname
    if not name.startswith("notebooks/"):
        return
    notebook = Path(app.env.mystnb_config.output_folder, f"{name}.ipynb")
    link = download_reference("", "", nodes.Text("Download this notebook"))
    link["reftarget"] = "/" + os.path.relpath(notebook, app.srcdir)
    paragraph = nodes.paragraph("", "", link, nodes.Text(f" ({notebook.name}, for Jupyter)"))
    title = next(page.findall(nodes.title))
    title.parent.insert(title.parent.index(title) + 1, paragraph)

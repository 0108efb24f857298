"""Sphinx configuration: MyST Markdown, autodoc of the public names, the furo theme."""

import mcsim

project = "mcsim"
author = "The mcsim developers"
copyright = "The mcsim developers, MIT license"
version = release = mcsim.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
exclude_patterns = ["_build"]
default_role = "literal"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False

html_theme = "furo"
html_title = "mcsim"
html_static_path: list[str] = []
html_extra_path = ["llms.txt"]

"""Tables and pages of results: each figure with its Monte Carlo error."""

from mcsim.report._formats import as_csv as as_csv
from mcsim.report._formats import as_html as as_html
from mcsim.report._formats import as_latex as as_latex
from mcsim.report._formats import as_markdown as as_markdown
from mcsim.report._formats import as_text as as_text
from mcsim.report._formats import render as render
from mcsim.report._layout import split_table as split_table
from mcsim.report._notes import notes as notes
from mcsim.report._page import write_html as write_html
from mcsim.report._tables import comparison_table as comparison_table
from mcsim.report._tables import estimates_table as estimates_table
from mcsim.report._tables import results_table as results_table
from mcsim.report._tables import write_comparison as write_comparison
from mcsim.report._tables import write_table as write_table

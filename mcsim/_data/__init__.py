"""Data from elsewhere: files, the names, cells and index of frames, and likely slips in them."""

from mcsim._data._cells import as_numbers as as_numbers
from mcsim._data._cells import faults_of_categories as faults_of_categories
from mcsim._data._cells import faults_of_values as faults_of_values
from mcsim._data._cells import notes_on_texts as notes_on_texts
from mcsim._data._files import ending_of as ending_of
from mcsim._data._files import read_table as read_table
from mcsim._data._files import require_ending as require_ending
from mcsim._data._index import BEYOND_INT64 as BEYOND_INT64
from mcsim._data._index import codes_of as codes_of
from mcsim._data._index import faults_of_index as faults_of_index
from mcsim._data._index import places_of_labels as places_of_labels
from mcsim._data._index import warn_of_alphabet as warn_of_alphabet
from mcsim._data._names import about_names as about_names
from mcsim._data._names import faults_of_names as faults_of_names
from mcsim._data._names import text_names as text_names
from mcsim._data._names import with_index_as_columns as with_index_as_columns
from mcsim._data._plausibility import notes_on as notes_on
from mcsim._data._shapes import remedy_for_cross_section as remedy_for_cross_section
from mcsim._data._text_files import TAB as TAB

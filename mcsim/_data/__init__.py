"""Data of users: files; names, cells and index of frames; likely slips."""

from mcsim._data.cells import as_numbers as as_numbers
from mcsim._data.cells import faults_of_categories as faults_of_categories
from mcsim._data.cells import faults_of_values as faults_of_values
from mcsim._data.cells import notes_on_texts as notes_on_texts
from mcsim._data.files import ending_of as ending_of
from mcsim._data.files import read_table as read_table
from mcsim._data.files import require_ending as require_ending
from mcsim._data.index import BEYOND_INT64 as BEYOND_INT64
from mcsim._data.index import codes_of as codes_of
from mcsim._data.index import faults_of_index as faults_of_index
from mcsim._data.index import places_of_labels as places_of_labels
from mcsim._data.index import warn_of_alphabet as warn_of_alphabet
from mcsim._data.names import about_names as about_names
from mcsim._data.names import faults_of_names as faults_of_names
from mcsim._data.names import text_names as text_names
from mcsim._data.names import with_index_as_columns as with_index_as_columns
from mcsim._data.plausibility import notes_on as notes_on
from mcsim._data.shapes import remedy_for_cross_section as remedy_for_cross_section
from mcsim._data.text_files import TAB as TAB

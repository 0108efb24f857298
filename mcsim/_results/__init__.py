"""Contents of a store: blocks of rows, failures, caveats; and the results read from it."""

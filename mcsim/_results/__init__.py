"""What a store holds: blocks of rows, failures, caveats; and the results read from it."""

"""Cross-sections, column by column: a head for each column, drawn given those before it."""

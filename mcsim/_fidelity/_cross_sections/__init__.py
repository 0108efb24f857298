"""Fidelity of cross-sections: rows, their measures, the comparison fold by fold."""

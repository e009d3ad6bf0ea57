"""The proof against power cuts: every instant of an update, on the real file systems.

An update is run once and every operation of its flash written down. From that the flash is made
as a cut at each operation leaves it, or in the midst of each, and a board is started on it.
"""

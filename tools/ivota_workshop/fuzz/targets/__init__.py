"""The targets: one file for each parser, called as the parser is."""

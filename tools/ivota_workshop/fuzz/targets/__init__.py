"""The targets: one file for each parser, named after it."""

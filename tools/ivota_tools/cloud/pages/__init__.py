"""The console's web pages: rendered here, kept fresh by a small script, for eyes and keyboards."""

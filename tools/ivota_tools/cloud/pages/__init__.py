"""The console's web pages: rendered on the server, kept up to date by a small script."""

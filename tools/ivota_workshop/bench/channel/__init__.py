"""Updates from static files, without a broker."""

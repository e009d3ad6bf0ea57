"""`make screenshots`: pictures of the console's pages for the documents, with a sample fleet."""

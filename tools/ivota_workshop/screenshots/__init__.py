"""`make screenshots`: the console's pages as pictures for the documents, of a fleet made up."""

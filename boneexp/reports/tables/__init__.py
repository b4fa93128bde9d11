"""Tables of the documents and the page."""

"""The filter language: one parser for lists, search, live streams, the command line and the page."""

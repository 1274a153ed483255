"""The desk: submit, watch, query, and the command line."""

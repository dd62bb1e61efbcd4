"""Runs any study: parses its command line, searches, and trains finals, on Ray or in-process."""

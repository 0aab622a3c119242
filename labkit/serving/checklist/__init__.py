"""Checklists for production that are run, not ticked: each line is a probe with its evidence."""

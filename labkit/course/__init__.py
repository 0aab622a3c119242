"""Exercises: checks, hints, solutions, progress. And running lessons without a browser."""

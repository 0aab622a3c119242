"""The checks and hints, one module a lesson: `lesson_NN.py`. Each registers itself when imported."""

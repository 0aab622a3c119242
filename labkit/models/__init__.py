"""The weights: where they are, what form runs best, what a machine can hold."""

"""Operators: each has a readable reference, and fast implementations beside it."""

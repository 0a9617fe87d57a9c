"""Experiments with their claims, goals and pages: they use the package and are no part of it."""

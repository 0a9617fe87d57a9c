"""Controlled experiments: one skeleton, many token mixers, the same recipe, several seeds."""

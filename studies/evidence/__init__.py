"""Experiments that could refute the claims about mixers: five questions, one small trainer."""

"""Leaves parts of model and data out of a trial, without a word of it in the user's function."""

"""The one vocabulary: facts, commands, and the fold that turns facts into a view."""

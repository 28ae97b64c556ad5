"""Who starts workers: Spark (a session that is there, or a local one of our own), or plain processes in tests.

The only package that imports pyspark, and only inside functions.
"""

"""Spark's Python daemon for our own local Spark, with the installed pyspark instead of the zip of it.

Spark puts that zip first on its workers' path, where Python compiles every module anew: 0.8 s of the first job instead
of 0.2. A file of its own, standard library only: `session` copies it to a folder on the workers' path, and Spark runs
it as `python -m lagom_spark_daemon pyspark.worker`.
"""

from __future__ import annotations

import os
import re
import runpy
import sys

_ZIPS = re.compile(r"(pyspark|py4j-[\d.]+-src)\.zip")


def main() -> None:
    """Be the daemon, until Spark closes its stdin."""
    sys.path[:] = [entry for entry in sys.path if not _ZIPS.fullmatch(os.path.basename(entry))]
    runpy.run_module("pyspark.daemon", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

"""The bridge into MLflow: mirrors runs of ours into a tracking server, while they go on or afterwards.

It reads a run's folder only, so it needs nothing of the driver. `mlflow` itself is imported by `tracking` alone.
"""

"""A run on disk: written by the driver through `store.RunStore`, read by everyone else."""

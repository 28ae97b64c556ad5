"""What runs on an executor: a supervisor that talks to the driver, and the trial process that it guards."""

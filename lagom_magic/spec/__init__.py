"""What an experiment is: its search space, its configuration and the training function it calls."""

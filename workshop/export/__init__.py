"""From an eager model to a file that Triton serves, through gates that a wrong one does not pass."""

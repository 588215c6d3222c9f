"""Running the shared suite against any card."""

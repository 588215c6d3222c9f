"""Options and fixtures of the shared suite, for every test."""

pytest_plugins = ["permitcard.pytest_plugin"]

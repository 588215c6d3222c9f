"""Every reader with every card: a set of checks, one page of results."""

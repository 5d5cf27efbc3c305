"""Site acceptance: a test study through the whole way, and whether its answer comes back right and in time."""

"""How the studies of a job are spread: over processes, shards of a job array, or the workers of a scheduler."""

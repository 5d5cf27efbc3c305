"""From a complete study to its answer: completion, workers, and the process that predicts."""

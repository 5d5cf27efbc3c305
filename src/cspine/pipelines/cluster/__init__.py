"""Jobs of many shards: joining what they wrote, and submitting them to Slurm."""

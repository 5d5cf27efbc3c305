"""The procedural neck: vertebrae, posture, soft tissue, variants and devices."""

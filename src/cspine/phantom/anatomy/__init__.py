"""The procedural neck: vertebrae, posture, soft tissue, anatomic variants and devices."""

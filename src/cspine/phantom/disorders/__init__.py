"""What can be different about a neck: posture, size, fused vertebrae, implants, degeneration, bone, variants."""

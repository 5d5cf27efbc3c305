"""Studies without their patients: PS3.15's basic profile, for what leaves the machine."""

"""Accuracy, confidence, speed and memory of the localizer, on real CT and on phantoms of whatever may be in a scan."""

"""Systems put to the test: scans made worse on purpose, and shortcuts that must lead nowhere."""

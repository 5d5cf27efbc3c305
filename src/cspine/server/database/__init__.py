"""Records of the server: studies, jobs, deliveries, reviews and the audit log (SQLite or PostgreSQL)."""

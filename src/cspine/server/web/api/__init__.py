"""The API for programs: studies, jobs, findings, deliveries, reviews, uploads, and the state of the server."""

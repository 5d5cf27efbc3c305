"""Pages for people: worklist, study, status, log-in, and the description of the API."""

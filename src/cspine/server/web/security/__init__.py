"""Who may do what: identities, sessions, roles, limits, headers, and the audit log of the HTTP interface."""

"""Results on their way out: a queue for each destination, by C-STORE, STOW-RS, FHIR, webhook or mail."""

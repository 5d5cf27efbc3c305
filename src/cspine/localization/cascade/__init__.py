"""The localizer as a cascade: three networks that look at a scan ever more closely."""

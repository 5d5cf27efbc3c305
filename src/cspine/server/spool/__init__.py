"""The spool: a folder of received objects, of the input of jobs, and of results."""

"""Files that lie elsewhere: in a bucket, or behind a URL."""

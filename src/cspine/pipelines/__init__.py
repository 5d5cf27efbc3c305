"""One call per use case: predict, localize, compile, train, evaluate."""

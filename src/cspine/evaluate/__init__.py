"""Arrays and tables in, numbers out: the challenge's metric, AUC, intervals, splits, figures."""

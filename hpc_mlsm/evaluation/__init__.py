"""How good a classifier is: splits of the data, and scores."""

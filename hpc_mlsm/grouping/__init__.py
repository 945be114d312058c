"""Correlation of base patterns, and the groups that follow from it: a group becomes a class of the classifier."""

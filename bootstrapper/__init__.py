"""Tells a starting node of a cluster which nodes there are, so that all of them meet in one network."""

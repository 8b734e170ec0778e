"""Reconciles Extensions of type registry-spegel: what a shoot needs on the seed and in itself."""

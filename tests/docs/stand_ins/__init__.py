"""Programs that stand in for others where documents are tried. Each says what it does instead.

They know just what the documents use: what they do not know is an error.
"""

"""What the servers of this project have in common: gunicorn with renewable TLS, settings, figures, JSON logs.

It knows nothing of what is served.
"""

"""Providers: base URL, credential, quirks; ``http.py`` is the one client that anything leaves through."""

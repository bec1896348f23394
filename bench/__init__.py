"""Measurements that decisions hang on. ``python -m bench`` lists them."""

"""Endpoints that serve a teacher: what one would take, making it, listing, and taking it down again.

Everything made here carries our tags, with the day it expires, before it costs anything; nothing without them is ever
touched.
"""

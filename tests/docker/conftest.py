"""A Docker engine and a small image; the tests say why where there is none."""

from engine_fixtures import engine, image

__all__ = ["engine", "image"]

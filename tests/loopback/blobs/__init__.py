"""Blob storage: containers are folders, blobs are files."""

from .service import Blobs

__all__ = ["Blobs"]

"""The OpenAPI document, built from the same contracts that check requests and describe answers."""

from app.rest.openapi.document import build_document
from app.rest.openapi.links import LINKS

__all__ = ["LINKS", "build_document"]

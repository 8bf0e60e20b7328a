"""Prints the OpenAPI document as it is committed: python -m app.rest.openapi."""

import json
import sys

from app import create_app
from app.rest.openapi import build_document
from app.settings import Settings


def main() -> None:
    """Print the document as it is committed."""
    json.dump(build_document(create_app(Settings())), sys.stdout, indent=2, ensure_ascii=False, sort_keys=False)
    print()


if __name__ == "__main__":
    main()

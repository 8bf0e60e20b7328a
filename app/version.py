"""The version of the project (semantic versioning), which is the API's version too."""

VERSION = "0.1.0"

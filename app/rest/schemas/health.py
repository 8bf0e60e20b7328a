"""The server's health on the wire."""

from marshmallow import fields

from app.rest.fields import Text
from app.rest.schemas.base import AnswerSchema


class Health(AnswerSchema):
    """How the server is."""

    status = Text("`healthy`.", "healthy", required=True)
    database = Text("`connected`.", "connected", required=True)
    version = Text("The version of the server.", "0.1.0", required=True)
    warnings = fields.List(
        fields.String(), required=True, metadata={"description": "What an operator should look at.", "example": []}
    )

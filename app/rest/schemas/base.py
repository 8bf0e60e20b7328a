"""What several resources share."""

from contextlib import suppress
from functools import cached_property
from typing import Any, ClassVar

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, missing, validates_schema

from app.rest.fields import QueryInt


class RequestSchema(Schema):
    """A request; a field that it does not know is an error, so that no typing mistake passes in silence."""

    #: How a missing field is reported; older clients look for these sentences.
    missing_sentence: ClassVar[str] = "Missing required field: {field}"
    #: A whole request for the documentation; without it one is put together from the fields' examples.
    example: ClassVar[dict[str, Any] | None] = None
    #: What holds between fields, as JSON Schema keywords for the documentation; `check` checks it.
    rules: ClassVar[dict[str, Any]] = {}

    class Meta:
        unknown = RAISE

    def load(self, data: Any, **options: Any) -> Any:
        """Check a request and return it; raises ValidationError with all that is wrong.

        Where nothing is wrong, as in nearly all requests, the fields that are given are all there is to look at;
        where something is, marshmallow goes through everything and names it.
        """
        if isinstance(data, dict) and not any(options.values()):
            with suppress(ValidationError):
                return self._load_what_is_right(data)
        return super().load(data, **options)

    def check(self, loaded: dict[str, Any], given: dict[str, Any]) -> None:
        """Raise ValidationError for what is wrong between fields; of these `loaded` has only those that are right."""

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check(self, loaded: dict[str, Any], given: Any, **_: Any) -> None:
        # Within another request it may be no object, which is said already.
        if isinstance(given, dict):
            self.check(loaded, given)

    def _load_what_is_right(self, data: dict[str, Any]) -> dict[str, Any]:
        loaded = dict(self._defaults)
        for name, value in data.items():
            field = self.load_fields.get(name)
            if field is None or (value is None and not field.allow_none):
                raise ValidationError(name)
            if value is not None:
                value = field._deserialize(value, name, data)
                for validate in field.validators:
                    validate(value)
            loaded[name] = value
        if not self._required <= loaded.keys():
            raise ValidationError("something is missing")
        self.check(loaded, data)
        return loaded

    @cached_property
    def _required(self) -> set[str]:
        return {name for name, field in self.load_fields.items() if field.required}

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return {
            name: field.load_default for name, field in self.load_fields.items() if field.load_default is not missing
        }


class AnswerSchema(Schema):
    """An answer; it documents what the views build from rows, and the tests hold each answer against it."""

    class Meta:
        unknown = EXCLUDE


class Fault(AnswerSchema):
    """One fault of a request."""

    field = fields.String(required=True, metadata={"description": "Where it is.", "example": "params.path"})
    problem = fields.String(required=True, metadata={"description": "What is wrong.", "example": "Is missing."})


def page_fields(high: int = 1000) -> dict[str, Any]:
    """Return the fields of a page."""
    return {
        "limit": QueryInt("How many to return at most.", 50, low=1, high=high, load_default=50),
        "offset": QueryInt("How many to skip.", 0, low=0, high=10**9, load_default=0),
    }

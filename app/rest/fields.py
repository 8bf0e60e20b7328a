"""Kinds of fields: strict about types, bounded in size, and described for OpenAPI."""

import re
from datetime import datetime
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate

from app.errors import Invalid, QueueError
from app.policies import POLICIES, check_policy
from app.storage.columns import UTC, instant_text, to_json
from app.web.bodies import parse
from app.web.errors import InvalidJson

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LAST_YEAR = 9000
# Not all that Python calls a space: that has control characters among it.
_BLANKS = " \t\r\n"
_MAX_VERSION = 1e30


def _described(meaning: str, example: Any, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**options, "metadata": {"description": meaning, "example": example, **more}}


class Text(fields.String):
    """A text of bounded length without control characters."""

    pattern = r"^[^\x00-\x1f\x7f]*$"
    forbidden = re.compile(r"[\x00-\x1f\x7f]")
    forbidden_are = "control characters"
    #: What is understood beside a text, as a JSON Schema: what older clients send.
    tolerated: ClassVar[dict[str, Any] | None] = None

    def __init__(
        self, meaning: str, example: str, *, low: int = 0, high: int = 255, pattern: str | None = None, **options: Any
    ) -> None:
        self.low, self.high = low, high
        # For the documentation; whoever narrows it checks it.
        self.pattern = pattern or self.pattern
        super().__init__(**_described(meaning, example, options), validate=validate.Length(low, high))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is not None and self.forbidden.search(text):
            raise ValidationError(f"Must not contain {self.forbidden_are}.")
        return text


class Lines(Text):
    """A text that may have several lines."""

    pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
    forbidden = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class RawText(Text):
    """A text of bounded length with any characters, such as what another program printed."""

    pattern = r"^[\s\S]*$"
    forbidden = re.compile(r"(?!)")


class Name(Text):
    """A text that is trimmed and not empty."""

    pattern = r"^[ \t\r\n]*[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?[ \t\r\n]*$"

    def __init__(self, meaning: str, example: str, *, high: int = 255, **options: Any) -> None:
        super().__init__(meaning, example, low=1, high=high, **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        # The blanks around it count as well, as the document says.
        is_long = isinstance(value, str) and len(value) > self.high
        text = super()._deserialize(value.strip(_BLANKS) if isinstance(value, str) else value, attr, data, **kwargs)
        if text is not None and (is_long or len(text.casefold()) > self.high):
            raise ValidationError(f"Longer than maximum length {self.high}.")
        return text


class LongText(fields.Field[str]):
    """A text for people, of any length that the body may have; another JSON value is kept as its JSON."""

    def __init__(self, meaning: str, example: str, **options: Any) -> None:
        super().__init__(**_described(meaning, example, options))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        return value if isinstance(value, str) else to_json(value)


class Version(Text):
    """A text, or a number that is taken as one."""

    tolerated: ClassVar[dict[str, Any] | None] = {"type": "number", "minimum": -_MAX_VERSION, "maximum": _MAX_VERSION}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_VERSION:
            value = str(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Int(fields.Field[int]):
    """A JSON integer within bounds; not a truth value, and a text only where older clients send one."""

    def __init__(
        self, meaning: str, example: int, *, low: int, high: int, from_text: bool = False, **options: Any
    ) -> None:
        self.low, self.high, self.from_text = low, high, from_text
        super().__init__(**_described(meaning, example, options))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if self.from_text and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value.strip(), re.ASCII):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError("Not a valid integer.")
        if not self.low <= value <= self.high:
            raise ValidationError(f"Must be from {self.low} to {self.high}.")
        return value


class QueryInt(Int):
    """An integer in a query, where every value is text."""

    def __init__(self, meaning: str, example: int, *, low: int, high: int, **options: Any) -> None:
        super().__init__(meaning, example, low=low, high=high, from_text=True, **options)


class Seconds(fields.Field[float]):
    """A number of seconds within bounds."""

    def __init__(self, meaning: str, example: float, *, low: float = 0, high: float, **options: Any) -> None:
        self.low, self.high = low, high
        super().__init__(**_described(meaning, example, options))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValidationError("Not a valid number.")
        if not self.low <= value <= self.high:
            raise ValidationError(f"Must be from {self.low:.12g} to {self.high:.12g}.")
        return float(value)


class Flag(fields.Field[bool]):
    """A truth value; 0, 1 and the words true and false are understood too, since older clients send them."""

    _WORDS = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}

    def __init__(self, meaning: str, example: bool, **options: Any) -> None:
        super().__init__(**_described(meaning, example, options))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        word = value.strip().lower() if isinstance(value, str) else value
        if isinstance(word, float | dict | list) or word not in self._WORDS:
            raise ValidationError("Not a valid boolean.")
        return self._WORDS[word]


class Instant(fields.Field[datetime]):
    """An RFC 3339 instant; any offset is understood, UTC is answered."""

    pattern = r"^(19[7-9][0-9]|[2-8][0-9]{3}|9000)-"

    def __init__(self, meaning: str, example: str = "2026-11-23T12:00:00.123Z", **options: Any) -> None:
        super().__init__(**_described(meaning, example, options))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValidationError("Not a valid RFC 3339 instant, such as 2026-11-23T12:00:00Z.")
        day, clock, fraction, offset = match.groups()
        try:
            instant = datetime.fromisoformat(
                f"{day}T{clock}{(fraction or '.0')[:7]:0<7}{'+00:00' if offset in 'zZ' else offset}"
            ).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValidationError("Not a valid RFC 3339 instant, such as 2026-11-23T12:00:00Z.") from None
        if not 1970 <= instant.year <= _LAST_YEAR:
            raise ValidationError(f"Must be from 1970 to {_LAST_YEAR}.")
        return instant


class AnyJson(fields.Raw):
    """Any JSON value, kept as it is."""

    def __init__(self, meaning: str, example: Any, **options: Any) -> None:
        super().__init__(**_described(meaning, example, options))


class JsonObject(fields.Field[dict[str, Any]]):
    """A JSON object; an empty array is taken as one, since PHP cannot tell them apart."""

    #: What a narrower kind asks for, as JSON Schema keywords for the documentation; that kind checks it.
    rules: ClassVar[dict[str, Any]] = {}

    def __init__(self, meaning: str, example: Any, *, from_text: bool = False, **options: Any) -> None:
        self.from_text = from_text
        super().__init__(**_described(meaning, example, options))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        if self.from_text and isinstance(value, str):
            try:
                value = parse(value.encode())
            except InvalidJson:
                raise ValidationError("Not a JSON object, nor a text that holds one.") from None
        if value == [] and not self.from_text:
            return {}
        if not isinstance(value, dict):
            raise ValidationError("Not a JSON object.")
        return value


class Policy(fields.Field[Any]):
    """A policy of a task type; its bounds are those in app/policies.py."""

    def __init__(self, name: str, **options: Any) -> None:
        policy = POLICIES[name]
        self.policy_name = name
        example = policy.default
        if example is None:
            example = "100/60" if "pattern" in policy.metadata else 60
        if "names" in policy.metadata:
            example = ["path"]
        super().__init__(**_described(policy.metadata["meaning"], example, options), allow_none=policy.default is None)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        bounds = POLICIES[self.policy_name].metadata
        if "names" in bounds:
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise ValidationError("Not a list of texts.")
        elif "low" not in bounds:
            if not isinstance(value, str):
                raise ValidationError("Not a valid string.")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ValidationError("Not a valid number.")
        elif not isinstance(POLICIES[self.policy_name].default, float) and not isinstance(value, int):
            raise ValidationError("Not a valid integer.")
        try:
            check_policy(self.policy_name, value)
        except ValueError as error:
            text = str(error)
            raise ValidationError(text[0].upper() + text[1:] + ".") from None
        return value


class Each(fields.List[Any]):
    """A list whose items are checked one by one: what is wrong with one is kept in its place and hurts no other."""

    def __init__(self, schema: type[Any], meaning: str, *, low: int, high: int, **options: Any) -> None:
        self.schema = schema()
        self.low, self.high = low, high
        super().__init__(fields.Nested(schema), metadata={"description": meaning}, **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, list):
            raise ValidationError("Not a valid list.")
        if not self.low <= len(value) <= self.high:
            raise ValidationError(f"Must have {self.low} to {self.high} items.")
        return [self._load(item) for item in value]

    def _load(self, item: Any) -> dict[str, Any] | QueueError:
        from app.rest.refusals import refusal

        if not isinstance(item, dict):
            return Invalid(sentence="Not a JSON object")
        try:
            loaded: dict[str, Any] = self.schema.load(item)
        except ValidationError as error:
            return refusal(self.schema, error)
        return loaded


def show_instant(value: datetime | None) -> str | None:
    """Write an instant as the API does: UTC, milliseconds, `Z`."""
    return None if value is None else instant_text(value)

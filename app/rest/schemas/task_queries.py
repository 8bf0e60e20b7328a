"""What may be asked about tasks: how to read one, and which to list."""

from typing import Any

from marshmallow import ValidationError

from app.rest.fields import Instant, QueryInt, Text
from app.rest.schemas.base import RequestSchema, page_fields
from app.storage.columns import MAX_ID

MAX_WAIT = 60
MAX_TAGS = 10


class ReadQuery(RequestSchema):
    """How to read a task."""

    wait = QueryInt(
        "Wait up to so many seconds for the end of the task, if the server allows that.",
        0,
        low=0,
        high=MAX_WAIT,
        load_default=0,
    )


class Tags(Text):
    """Several tags, separated by commas."""

    _tag = r"[^\x00-\x1f\x7f,]*[^\x00-\x20\x7f,][^\x00-\x1f\x7f,]*"
    pattern = rf"^{_tag}(,{_tag}){{0,9}}$"

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        tags = text.split(",")
        if len(tags) > MAX_TAGS or not all(tag.strip(" ") for tag in tags):
            raise ValidationError(f"Must be 1 to {MAX_TAGS} tags, separated by commas.")
        return text


class Member(Text):
    """A member of the metadata, as `name=value`."""

    pattern = r"^[^\x00-\x1f\x7f=]+=[^\x00-\x1f\x7f]*$"

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text.find("=") < 1:
            raise ValidationError("Must look like name=value.")
        return text


class TaskQuery(RequestSchema):
    """Which tasks to list."""

    status = Text("Only tasks of this status, or of these, separated by commas.", "pending", high=200)
    type = Text("Only tasks of this type; `%` makes it a pattern, `_` then stands for one character.", "checksum")
    worker_id = Text("Only tasks claimed by this worker.", "worker-1")
    tag = Tags("Only tasks with this tag, or with all of these, separated by commas.", "nightly", high=2600)
    metadata = Member(
        "Only tasks whose metadata has this member, a text, number or truth value of up to 255 characters.",
        "customer=42",
        high=511,
    )
    workflow_id = QueryInt("Only tasks of this workflow.", 3, low=1, high=MAX_ID)
    created_from = Instant("Only tasks created at this instant or later.")
    created_before = Instant("Only tasks created before this instant.")
    cursor = Text("`next_cursor` of the page before; the way to walk a long list.", "", high=500)
    include = Text(
        "`params`, `result` or both, separated by a comma: they are left out otherwise.",
        "params,result",
        high=50,
        pattern=r"^ *(params|result)? *(, *(params|result)? *)*$",
    )
    limit = page_fields()["limit"]
    offset = page_fields()["offset"]

"""How much work can a JSON Schema ask for at one place of a value, in the worst case? Pure.

Validators follow every reference and every `allOf`, `anyOf`, …; thirty small definitions that each refer twice to
the next ask for 2^30 checks of one value, and a schema that applies itself twice to each child doubles the work at
every level. Both are found here, before anything is validated: the number of times that each subschema can be
applied to one value is bounded level by level, in time proportional to the schema.
"""

import re
from collections import defaultdict
from enum import Enum
from typing import Any
from urllib.parse import unquote

from app.errors import InvalidSchema
from app.queue.keyword_cost import Cost, own_cost

MAX_DEPTH = 64
MAX_APPLICATIONS = 10_000
_MAX_STEPS = 2_000_000
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_IN_PLACE_MAPS = ("dependentSchemas", "dependencies")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# Applied to the members, or items, that the same schema does not name one by one.
_OTHER_MEMBERS = ("additionalProperties", "unevaluatedProperties")
_OTHER_ITEMS = ("items", "additionalItems", "unevaluatedItems")
_INDEX = re.compile(r"[0-9]{1,6}", re.ASCII)

Counts = dict[int, int]


class Others(Enum):
    """Which members or items, when it is not one by its name or index."""

    ALL = "all"
    NOT_NAMED = "those that the same schema does not name"


ALL, OTHERS = Others.ALL, Others.NOT_NAMED
Class = str | Others


def measure_schema(schema: dict[str, Any]) -> Cost:
    """Return the highest cost at any one value.

    Raises InvalidSchema for references that leave the document, lead nowhere or go round in a circle, and when there
    are more than 10,000 checks.
    """
    graph = _Graph(schema)
    try:
        return graph.measure()
    except RecursionError:
        raise InvalidSchema("References in the schema nest too deeply.") from None


class _Node:
    """A subschema: what it costs by itself, and which others it applies in place, to members and to items.

    Those for members and items come with the class that they apply to: a name, an index, or the others.
    """

    def __init__(self, schema: Any) -> None:
        self.cost = own_cost(schema) if isinstance(schema, dict) else Cost(checks=1, faults=1)
        self.in_place: list[int] = []
        self.members: list[tuple[Class, int]] = []
        self.items: list[tuple[Class, int]] = []


class _Graph:
    """The subschemas of a document, each known by the identity of its object."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        # Until then `items` could be a list, and `prefixItems` meant nothing.
        self.is_2020 = "2020-12" in str(root.get("$schema", "2020-12"))
        self.steps = 0
        self.anchors: dict[str, Any] = {}
        self._find_anchors(root)
        self.nodes: dict[int, _Node] = {}
        self.closures: dict[int, Counts] = {}
        self.open: set[int] = set()
        # Without recursion, since references make long chains.
        waiting: list[Any] = [root]
        while waiting:
            schema = waiting.pop()
            if id(schema) in self.nodes:
                continue
            node = self.nodes[id(schema)] = _Node(schema)
            for kind, of_class, child in self._edges(schema) if isinstance(schema, dict) else []:
                self._spend(1)
                waiting.append(child)
                if kind == "in_place":
                    node.in_place.append(id(child))
                else:
                    getattr(node, kind).append((of_class, id(child)))

    def _find_anchors(self, root: dict[str, Any]) -> None:
        identifier = "id" if "draft-04" in str(root.get("$schema")) else "$id"
        waiting: list[Any] = [root]
        while waiting:
            node = waiting.pop()
            if isinstance(node, dict):
                for keyword in ("$anchor", "$dynamicAnchor"):
                    if isinstance(node.get(keyword), str):
                        self.anchors[node[keyword]] = node
                if isinstance(node.get(identifier), str):
                    if node[identifier].startswith("#"):
                        self.anchors[node[identifier][1:]] = node
                    elif node is not root:
                        raise InvalidSchema(f"An `{identifier}` below the top of the schema is not supported.")
                # What stands under these is data, not schema.
                waiting.extend(
                    value for key, value in node.items() if key not in ("enum", "const", "default", "examples")
                )
            elif isinstance(node, list):
                waiting.extend(node)

    def _edges(self, schema: dict[str, Any]) -> list[tuple[str, Class, Any]]:
        edges: list[tuple[str, Class, Any]] = []
        for keyword in _IN_PLACE_LISTS:
            edges += [("in_place", ALL, child) for child in _schemas(schema.get(keyword))]
        for keyword in _IN_PLACE:
            edges += [("in_place", ALL, child) for child in _schemas([schema.get(keyword)])]
        for keyword in _IN_PLACE_MAPS:
            edges += [("in_place", ALL, child) for child in _schemas(_values(schema.get(keyword)))]
        for keyword in _REFERENCES:
            if isinstance(schema.get(keyword), str):
                edges.append(("in_place", ALL, self._resolve(schema[keyword])))
        properties = schema.get("properties")
        if isinstance(properties, dict):
            edges += [("members", name, child) for name, child in properties.items() if _is_schema(child)]
        edges += [("members", ALL, child) for child in _schemas(_values(schema.get("patternProperties")))]
        edges += [("members", ALL, child) for child in _schemas([schema.get("propertyNames")])]
        for keyword in _OTHER_MEMBERS:
            edges += [("members", OTHERS, child) for child in _schemas([schema.get(keyword)])]
        edges += [("items", ALL, child) for child in _schemas([schema.get("contains")])]
        for keyword in _OTHER_ITEMS:
            edges += [("items", OTHERS, child) for child in _schemas([schema.get(keyword)])]
        named_items = schema.get("prefixItems" if self.is_2020 else "items")
        if isinstance(named_items, list):
            edges += [("items", str(i), child) for i, child in enumerate(named_items) if _is_schema(child)]
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            # To learn what is unevaluated the library checks all in place twice more (measured: 3 to the depth).
            edges += 2 * [edge for edge in edges if edge[0] == "in_place"]
        return edges

    def _resolve(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise InvalidSchema(
                f"The reference {reference[:200]!r} leaves the schema: only references that begin with # are followed."
            )
        fragment = unquote(reference[1:])
        if fragment in self.anchors:
            return self.anchors[fragment]
        node: Any = self.root
        for part in fragment.split("/")[1:] if fragment.startswith("/") else ([] if fragment == "" else [None]):
            key = part.replace("~1", "/").replace("~0", "~") if part is not None else None
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key is not None and _INDEX.fullmatch(key) and int(key) < len(node):
                node = node[int(key)]
            else:
                raise InvalidSchema(f"The reference {reference[:200]!r} leads nowhere.")
        if not _is_schema(node):
            raise InvalidSchema(f"The reference {reference[:200]!r} does not lead to a schema.")
        return node

    def _spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > _MAX_STEPS:
            raise InvalidSchema("The schema is too large or too entangled to be checked.")

    def _closure(self, number: int) -> Counts:
        """Return how often each subschema is applied to a value to which `number` is applied once."""
        if number in self.closures:
            return self.closures[number]
        if number in self.open:
            raise InvalidSchema("A reference leads back to itself without going deeper into the value.")
        self.open.add(number)
        counts: Counts = defaultdict(int, {number: 1})
        for child in self.nodes[number].in_place:
            for target, times in self._closure(child).items():
                counts[target] += times
            self._spend(len(self.closures[child]))
        self.open.discard(number)
        self.closures[number] = counts
        return counts

    def measure(self) -> Cost:
        level = self._closure(id(self.root))
        most = Cost()
        seen: Counts = {}
        for _depth in range(MAX_DEPTH + 1):
            costs = [(times, self.nodes[number].cost) for number, times in level.items()]
            most = most.most(Cost(*(sum(times * cost[part] for times, cost in costs) for part in range(len(most)))))
            if most.checks > MAX_APPLICATIONS:
                raise InvalidSchema(
                    f"One value could have to be checked against more than {MAX_APPLICATIONS} subschemas: "
                    "the schema combines or repeats references too often."
                )
            if all(seen.get(number, 0) >= times for number, times in level.items()):
                break
            for number, times in level.items():
                seen[number] = max(seen.get(number, 0), times)
            level = self._next(seen)
        return most

    def _next(self, level: Counts) -> Counts:
        following: Counts = {}
        for kind in ("members", "items"):
            by_class: dict[str, Counts] = defaultdict(lambda: defaultdict(int))
            to_all: Counts = defaultdict(int)
            for number, times in level.items():
                edges = getattr(self.nodes[number], kind)
                named = [of_class for of_class, _ in edges if isinstance(of_class, str)]
                for of_class, child in edges:
                    closure = self._closure(child)
                    self._spend(len(closure))
                    # What is for the others counts for all, and is taken back from those that are named.
                    shares = [(by_class[of_class], 1)] if isinstance(of_class, str) else [(to_all, 1)]
                    if of_class is OTHERS:
                        self._spend(len(closure) * len(named))
                        shares += [(by_class[name], -1) for name in named]
                    for counts, sign in shares:
                        for target, inner in closure.items():
                            counts[target] += sign * times * inner
            combined: Counts = dict(to_all)
            for counts in by_class.values():
                for target, times in counts.items():
                    combined[target] = max(combined.get(target, 0), times + to_all.get(target, 0))
            for target, times in combined.items():
                following[target] = max(following.get(target, 0), times)
        return following


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _schemas(values: Any) -> list[Any]:
    return [value for value in values if _is_schema(value)] if isinstance(values, list) else []


def _values(mapping: Any) -> list[Any]:
    return list(mapping.values()) if isinstance(mapping, dict) else []

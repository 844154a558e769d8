# SPDX-License-Identifier: Apache-2.0
"""The SDKs' own types as judges: what they do not name is a fault, and so is another type.

Requests are judged by the types of parameters (TypedDict), answers by the models of answers."""
import functools

import pydantic
from pydantic_core import SchemaValidator


KEPT = ("metadata", "cls", "config", "expected", "default", "function", "serialization")


def is_model(schema, named):
    """A class of answers, which the types of parameters let in beside their own."""
    if schema.get("type") == "definition-ref":
        schema = named.get(schema["schema_ref"], {})
    if schema.get("type") in ("union", "tagged-union"):
        arms = schema["choices"]
        arms = arms.values() if isinstance(arms, dict) else arms
        return all(is_model(arm, named) for arm in arms)
    return schema.get("type") == "model"


def sharpen(schema, named):
    """The same schema with lists in place of iterables that are looked at later, no room for
    members that it does not name, but where the SDK itself lets them in, and no other types."""
    if isinstance(schema, list):
        return [sharpen(part, named) for part in schema]
    if not isinstance(schema, dict):
        return schema
    is_schema = isinstance(schema.get("type"), str)
    made = {key: value if is_schema and key in KEPT else sharpen(value, named)
            for key, value in schema.items()}
    if not is_schema:
        return made
    if made["type"] == "generator":
        made["type"] = "list"
    elif made["type"] == "union":
        arms = [arm for arm, was in zip(made["choices"], schema["choices"])
                if not is_model(was, named)]
        made["choices"] = arms or made["choices"]
    elif made["type"] == "typed-dict":
        if (made.get("config") or {}).get("extra_fields_behavior") != "allow":
            made["extra_behavior"] = "forbid"
    elif made["type"] in ("int", "float", "str", "bool"):
        made["strict"] = True
    return made


@functools.lru_cache(maxsize=None)
def judge(kind):
    """A validator of a type of parameters. Texts are no numbers, and numbers no texts."""
    schema = pydantic.TypeAdapter(kind).core_schema
    named = {part["ref"]: part for part in schema.get("definitions", []) if "ref" in part}
    return SchemaValidator(sharpen(schema, named))


def told(error):
    """A validation error in one line, without the arms of unions that were not meant."""
    errors = error.errors()
    other = [e["loc"][:-1] for e in errors
             if e["type"] == "literal_error" and e["loc"][-1:] in (("type",), ("role",))]
    meant = [e for e in errors if not any(e["loc"][:len(o)] == o for o in other)] or errors
    parts = {".".join(str(p) for p in e["loc"] if "[" not in str(p)) + ": " + e["msg"]
             for e in meant}
    return "; ".join(sorted(parts)[:4])[:600]


def check(kind, value):
    """What is wrong with a value; None: nothing."""
    try:
        judge(kind).validate_python(value)
    except pydantic.ValidationError as error:
        return told(error)
    return None


@functools.lru_cache(maxsize=None)
def answer_adapter(kind):
    return pydantic.TypeAdapter(kind)


def check_answer(kind, value, extras=()):
    """What is wrong with an answer or an event, for one of the SDK's models of them. Members that
    the model does not name are wrong, too, but for those in extras."""
    try:
        made = answer_adapter(kind).validate_python(value)
    except pydantic.ValidationError as error:
        return told(error)
    unknown = sorted(set(unnamed(made)) - set(extras))
    return f"members that the SDK does not name: {', '.join(unknown)}" if unknown else None


def unnamed(model):
    """The members, however deep, that a model has no field for."""
    if isinstance(model, pydantic.BaseModel):
        for name, value in (model.model_extra or {}).items():
            yield name
        for name in model.model_fields_set:
            if name in type(model).model_fields:
                yield from unnamed(getattr(model, name))
    elif isinstance(model, (list, tuple)):
        for part in model:
            yield from unnamed(part)
    elif isinstance(model, dict):
        for part in model.values():
            yield from unnamed(part)

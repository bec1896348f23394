"""Read an embeddings request, and write the one that goes upstream."""

from __future__ import annotations

import msgspec

from ainfera_gateway.canonical.conversation import UnsupportedError, Written
from ainfera_gateway.canonical.needs import EMBEDDINGS
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.request import ChatRequest
from ainfera_gateway.wire.envelope import changed, open_body
from ainfera_gateway.wire.openai_embeddings.body import INPUTS_MAX, EmbeddingsBody, Input
from ainfera_gateway.wire.parsed import Parsed, Weight
from ainfera_gateway.wire.passage import Terms
from ainfera_gateway.wire.routing_inputs import GATEWAY_FIELDS, read_caps, read_hint, read_tags
from ainfera_gateway.wire.validation import decode

_GUARDED = frozenset({"model", "input", "dimensions", "encoding_format"})
_INNER = frozenset({"metadata"})
# Members of chat requests that say nothing here, and that a provider might take amiss.
_NOT_HERE = frozenset({"max_tokens", "max_completion_tokens", "stream", "stream_options"})
# What a provider takes that refuses all it does not know (Mistral); there ``dimensions`` has another name.
_KNOWN = frozenset({"model", "input", "metadata", "encoding_format", "output_dimension", "output_dtype"})

_body_decoder = msgspec.json.Decoder(EmbeddingsBody)


class ParsedEmbeddings(Parsed, frozen=True, kw_only=True):
    """An embeddings request; ``fields`` are its members as sent."""

    fields: EmbeddingsBody

    def weigh(self) -> Weight:
        """Texts as they were sent, quotes and commas included; of tokens, their number."""
        sent = self.fields.input
        if isinstance(sent, str) or isinstance(sent[0], str):
            return Weight(self.span("input"), 0)
        return Weight(b"", 0, tokens=sum(len(one) if isinstance(one, tuple) else 1 for one in sent))


def parse(body: bytes) -> ParsedEmbeddings:
    """Read a request. Raises ``ParseError`` naming the field. It is held for no output: embeddings have none."""
    found = open_body(body, guarded=_GUARDED, inner=_INNER)
    fields = decode(_body_decoder, body)
    _check_input(fields.input)
    request = ChatRequest(
        model=fields.model,
        max_tokens=0,
        agent_id=fields.agent_id,
        routing_hint=read_hint(fields.routing_hint),
        task_type=fields.task_type,
        caps=read_caps(fields.caps),
        tags=read_tags(fields.metadata),
        needs=frozenset({EMBEDDINGS}),
    )
    return ParsedEmbeddings(dialect="openai", request=request, body=body, members=found, fields=fields)


def write_upstream(parsed: ParsedEmbeddings, terms: Terms) -> Written:
    """The caller's bytes with ``model`` set and what this provider must not get taken out and named.

    Of a provider that has the quirk ``floats_only`` the form of the vectors is not asked: it is made here. Raises
    ``UnsupportedError`` where their length cannot be asked.
    """
    said = {member.key for member in parsed.members if parsed.span(member.key) != b"null"}
    values: dict[str, bytes | None] = {"model": msgspec.json.encode(terms.upstream_model)}
    refused = _NOT_HERE | terms.drop_fields
    if "known_fields_only" in terms.quirks:
        refused |= {member.key for member in parsed.members} - _KNOWN
        if "dimensions" in said:
            values |= {"dimensions": None, "output_dimension": parsed.span("dimensions")}
    elif "dimensions" in refused & said:
        raise UnsupportedError(f"{terms.slug} gives vectors of one length; leave out dimensions", "dimensions")
    if "floats_only" in terms.quirks:
        refused |= {"encoding_format"}
    refused -= {"model", "input"}
    dropped = (refused & said) - GATEWAY_FIELDS - {"encoding_format"} - values.keys()
    body = changed(parsed.body, parsed.members, values, drop=frozenset(refused))
    return Written(body, tuple(sorted(dropped)))


def _check_input(sent: Input) -> None:
    """Refuse a list of unlike things, and more inputs than the dialect allows."""
    if isinstance(sent, str):
        return
    first = type(sent[0])
    for index, one in enumerate(sent):
        if type(one) is not first:
            field = f"input[{index}]"
            raise ParseError(f"{field} is not of the kind of input[0]; send texts, tokens or lists of tokens", field)
    if first is not int and len(sent) > INPUTS_MAX:
        raise ParseError(f"input must have at most {INPUTS_MAX} items", "input")

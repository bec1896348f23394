"""Which codecs meet in a call: every dialect of callers with every wire of providers."""

from __future__ import annotations

from typing import Any, Final

from ainfera_gateway.canonical.conversation import Conversation, Written
from ainfera_gateway.canonical.dialect import Dialect, Wire
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.anthropic_messages import answer as messages_answer
from ainfera_gateway.wire.anthropic_messages import build as messages_build
from ainfera_gateway.wire.anthropic_messages import conversation as messages_conversation
from ainfera_gateway.wire.anthropic_messages import errors as messages_errors
from ainfera_gateway.wire.anthropic_messages import stream as messages_stream
from ainfera_gateway.wire.anthropic_messages.passage import MessagesPassage
from ainfera_gateway.wire.anthropic_messages.request import ParsedMessages
from ainfera_gateway.wire.anthropic_messages.writer import StreamWriter as MessagesWriter
from ainfera_gateway.wire.openai_chat import answer as chat_answer
from ainfera_gateway.wire.openai_chat import build as chat_build
from ainfera_gateway.wire.openai_chat import conversation as chat_conversation
from ainfera_gateway.wire.openai_chat import errors as chat_errors
from ainfera_gateway.wire.openai_chat import stream as chat_stream
from ainfera_gateway.wire.openai_chat.flat import whole_flat
from ainfera_gateway.wire.openai_chat.passage import ChatPassage
from ainfera_gateway.wire.openai_chat.request import ParsedChat
from ainfera_gateway.wire.openai_chat.writer import StreamWriter as ChatWriter
from ainfera_gateway.wire.openai_embeddings.passage import EmbeddingsPassage
from ainfera_gateway.wire.openai_embeddings.request import ParsedEmbeddings
from ainfera_gateway.wire.openai_responses import answer as responses_answer
from ainfera_gateway.wire.openai_responses import build as responses_build
from ainfera_gateway.wire.openai_responses import stream as responses_stream
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.passage import Closing, Passage, Terms
from ainfera_gateway.wire.translated import CallerCodec, ProviderCodec, TranslatedPassage

_NATIVE_WIRE: Final[dict[Dialect, Wire]] = {
    "openai": "openai_chat",
    "native": "openai_chat",
    "anthropic": "anthropic_messages",
}


def _flat(_parsed: Parsed, answer: Answer, closing: Closing, _terms: Terms) -> bytes:
    return whole_flat(answer, closing)


def _chat(_parsed: Parsed, answer: Answer, closing: Closing, terms: Terms) -> bytes:
    return chat_answer.write_answer(answer.response, closing, terms)


def _messages(parsed: Any, answer: Answer, closing: Closing, terms: Terms) -> bytes:
    return messages_answer.write_answer(answer.response, closing, terms, show_thinking=parsed.shows_thinking)


def _chat_writer(parsed: Parsed, terms: Terms) -> ChatWriter:
    return ChatWriter(terms, include_usage=parsed.request.include_usage)


def _messages_writer(parsed: Any, terms: Terms) -> MessagesWriter:
    return MessagesWriter(terms, show_thinking=parsed.shows_thinking)


_CALLERS: Final[dict[Dialect, CallerCodec]] = {
    "openai": CallerCodec(chat_conversation.read_conversation, _chat, _chat_writer, b": waiting\n\n"),
    "native": CallerCodec(chat_conversation.read_conversation, _flat, _chat_writer, b": waiting\n\n"),
    "anthropic": CallerCodec(
        messages_conversation.read_conversation,
        _messages,
        _messages_writer,
        b'event: ping\ndata: {"type":"ping"}\n\n',
    ),
}

_PROVIDERS: Final[dict[Wire, ProviderCodec]] = {
    "anthropic_messages": ProviderCodec(
        "/messages",
        messages_build.write_request,
        messages_answer.read_answer,
        messages_stream.StreamReader,
        messages_stream.EventDecoder,
    ),
    "openai_chat": ProviderCodec(
        "/chat/completions",
        chat_build.write_request,
        chat_answer.read_answer,
        chat_stream.StreamReader,
        chat_stream.EventDecoder,
    ),
    "openai_responses": ProviderCodec(
        "/responses",
        responses_build.write_request,
        responses_answer.read_answer,
        responses_stream.StreamReader,
        responses_stream.EventDecoder,
    ),
}


def caller_codec(dialect: Dialect) -> CallerCodec:
    """The codec that speaks to callers of ``dialect``."""
    return _CALLERS[dialect]


def crosses(parsed: Parsed, wire: Wire) -> bool:
    """Whether a request has to be translated for ``wire``."""
    return not isinstance(parsed, ParsedEmbeddings) and _NATIVE_WIRE[parsed.dialect] != wire


def open_passage(parsed: Parsed, terms: Terms) -> Passage:
    """The passage of one attempt. Raises ``UnsupportedError`` when the request cannot be carried to that provider."""
    if isinstance(parsed, ParsedEmbeddings):
        return EmbeddingsPassage(parsed, terms)
    if isinstance(parsed, ParsedChat) and terms.wire == "openai_chat":
        return ChatPassage(parsed, terms)
    if isinstance(parsed, ParsedMessages) and terms.wire == "anthropic_messages":
        return MessagesPassage(parsed, terms)
    return TranslatedPassage(parsed, terms, _CALLERS[parsed.dialect], _PROVIDERS[terms.wire])


def write_request(conversation: Conversation, terms: Terms, *, stream: bool) -> Written:
    """What ``open_passage`` would send of a translated request. Raises ``UnsupportedError``, as it would."""
    return _PROVIDERS[terms.wire].write_request(conversation, terms, stream=stream)


def error_frame(dialect: Dialect, status: int, code: str, message: str, request_id: str) -> bytes:
    """The last event of a stream that failed after its first byte."""
    if dialect == "anthropic":
        return messages_errors.error_frame(status, code, message, request_id=request_id)
    return chat_errors.error_frame(status, code, message)

"""A model provider to test against: a separate process, as strict as the real one, that misbehaves when told to.

    python -m tests.simulator --port 0 --log attempts.jsonl      prints {"port": N} when it listens; SIGTERM ends it

From a test: `with Simulator() as simulator:` (`process.py`). POST to a path that ends in

    /messages, /messages/count_tokens    Anthropic; key as x-api-key or bearer, anthropic-version demanded
    /responses                           OpenAI's Responses
    /embeddings                          unit vectors of 16 numbers, or of `dimensions`
    /chat/completions                    OpenAI's chat, or a family's by the beginning of the path: /mistral/ /groq/
                                         /gemini/ /xai/ /deepseek/ /openrouter/ /together/ /fireworks/ /cerebras/ /azure/

GET `/v1/models`, `/v1/models/{id}`, `/health`; the control paths `/log/count`, `/_script`, `/_live`, `/_ack`, `/_idle`.
A family's prefix says for all but Anthropic how the key must come (azure: `api-key` and no bearer; else 401) and how
errors look. `tests.gateway_process.family_environment` has the base URLs.

The log is the ground truth. Each POST to the provider writes a line and fsyncs it before its answer begins: `attempt`
(the request's `x-client-request-id`), `event: begin`, `request` (number since the start), `dialect`, `path`, `model`,
`stream`, `max_tokens`, `key_suffix`, `at_ns`, `headers` (names), `body_sha256`, `body_bytes`, `refused` (status, when
the provider's own rules refused it), `acts`, and `body` with `--log-bodies`. When the answer ended follows `event: end`
with `outcome`: `complete`, `reset`, `truncated`, `client_gone` or `error` (an error status, an error or garbage inside
the answer), `status`, `events` and `bytes` that left, `usage` as the client was told it (null: it was not).
`client_gone` counts the events handed to the kernel, which may be more than the client read. `foreign` is there when a
conversation carried members that another provider made (paths): `extra_content`, `thinking_blocks`,
`provider_specific_fields`, a signature that is not of here.

Answers are deterministic: an echo (`speech.echo`) of the last user message without its directives, or tool
calls when there are tools and the message speaks of the weather or `tool_choice` forces one (`two cities`: two
parallel calls), or a text after tool results. Limits, stop sequences, `n` and schemas of structured answers are
honoured. A token is a word or one other character. Answers carry `x_provider_note`, which no schema knows, with a
"model" inside.

## What must come back

Anthropic: thinking blocks are signed (`signatures.seal`), redacted ones sealed; another byte is a 400, and with
`thinking: enabled` a tool use of the running loop without its thoughts is one too. Beta fields need an `anthropic-beta`
header; messages of the role `system` need version 2026-10-21; `thread` gets the 400 that makes its SDKs send all again.
Responses: `encrypted_content` of reasoning items (`include`) is sealed; `gpt-5.5-pro` takes no tools and no chat.
Gemini: each tool call carries `extra_content.google.thought_signature` over name and arguments; a changed one is a 400,
a missing one too in the running loop. Mistral: tool ids of nine characters, no unknown name (422), usage unasked.
Strict families (openai, mistral, groq, gemini, cerebras, azure) refuse unknown names and foreign members; xai,
deepseek, openrouter, together and fireworks ignore the former and only log the latter.

## Who directs a request

1. The first fitting rule: POST `/_script` `{"match": {...}, "do": ["429 retry_after=2"], "times": 1}`, or a list of
   such. `match` takes `model` and `path` (globs), `stream`, `key_suffix`, `contains`, `nth` (the first nth - 1 that fit
   pass). A rule goes after `times` uses (0: never). GET shows the rules, DELETE drops them.
2. Else `[[sim:...]]` in the last user message; several blocks add up, a later one wins.
3. Else `--default`.

A block is words and `name=value`, apart by blanks, commas or semicolons, values percent-encoded where needed. In any
block `on=GLOB` limits it to models and `times=N` to the first N requests with the same text: `[[sim:429 on=gpt-* times=2]]`.
An unknown directive is refused with 400, code `simulator_directive`.

## Directives

Before the answer:
    slow=MS             waits before the first byte
    hold                waits before the first byte, status or reset for a GET /_ack?attempt=ID
    429, 500, ...       this status (100 to 599), with retry_after=TEXT, location=URL and
                        form=openai|anthropic|html|empty|array|xai|text (default: the provider's own);
                        Anthropic's 429 has retry-after 1 unless told
    stall               never answers
    reset               TCP reset before any byte
    close               closes before any byte
    garbage=http        bytes that are no HTTP
Streams (K events have left; K beyond the last event never comes):
    pace=MS             waits between events
    wait_ack            sends the first event, each next one after a GET /_ack?attempt=ID
    stall_after=K, reset_after=K, error_after=K (an error event)
    truncate=K          ends the body after K events; also no_finish, no_done, in_json (the default: half an event);
                        the body ends as its framing demands, in_json without; end=fin, end=chunked choose.
                        Anthropic: no_finish stops before the last message_delta, no_done before message_stop;
                        Responses: both stop before the event that completes
    garbage=data|utf8   an event that is no JSON or no UTF-8, after garbage_after=K (2); goes on after it
    split=N             N bytes in each write and chunk
    comments, crlf, no_space    comment lines, CRLF line ends, no blank after "data:"
    per_event=N         N tokens in each event
    interleave          fragments of parallel tool calls take turns (chat)
    index=right|zero|absent    the numbers of tool calls in chunks (chat; gemini: zero); not right: calls come whole
    pings=N             N more pings (the word: 3): events in Anthropic, comment lines elsewhere
    fine_grained        tool arguments in pieces of two characters (Anthropic)
    unknown_event       something no client knows: an event and a delta (Anthropic), an event (Responses), a chunk
                        with an unknown delta and an unknown member (chat)
Plain answers:
    stall_after=K, reset_after=K, truncate=K    K bytes of the body, then nothing, a reset, a close (truncate: half)
    garbage=body|utf8   a body that is no JSON or no UTF-8
    layout=pretty|note_first    indented; the unknown member first
    framing=length|chunked|close, split=N
What it says, both:
    usage=missing|nowhere|null|zero|cumulative|doubled|overbilled|negative|string    overbilled adds a million output
                        tokens; null and missing leave Anthropic's message_start as it is, nowhere clears it too.
                        cumulative states the running usage in every event (chat), in a message_delta after every delta
                        (Anthropic), in response.in_progress (Responses); doubled is the same in chat, elsewhere
                        the last event with usage comes twice
    cached=N, cache_write=N, cache_write_1h=N    prompt tokens read from and written to a cache. Anthropic takes them out
                        of input_tokens, Responses shows the sum of the writes, chat shows cached alone
    reasoning=N         reasoning tokens, added to the output; shown as a text of N tokens by Anthropic when thinking is on
                        and by the families that show thoughts, as an item by Responses
    redacted            a redacted_thinking block of four tokens (Anthropic)
    empty=content|choices|body    nothing said and 0 output tokens; no choices (Anthropic: one empty text; Responses:
                        no output; embeddings: no data for either); no body at all
    finish=REASON       in the words of any dialect, or null; content_filter, refusal and pause_turn also as words.
                        Responses: length and content_filter make it incomplete, error makes it failed
    big=N               a text of N tokens; ignore_max: max_tokens is not obeyed
    text=TEXT, tool_calls=N, as_model=NAME
    content_type=TYPE, connection=close

A further dialect is a module with a class as `dialect.Dialect` describes, named in `__main__.py`; a further family is a
row of `families.FAMILIES`.
"""

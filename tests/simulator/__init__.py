"""A model provider to test against: a separate process, as strict as the real one, that misbehaves when told to.

    python -m tests.simulator --port 0 --log attempts.jsonl      prints {"port": N} when it listens; SIGTERM ends it

From a test: `with Simulator() as simulator:` (`process.py`). Paths: POST to anything that ends in `/chat/completions`,
GET `/v1/models`, `/v1/models/{id}`, `/health`; the control paths `/log/count`, `/_script`, `/_live`, `/_ack`, `/_idle`.

The log is the ground truth. Each POST to the provider writes a line and fsyncs it before its answer begins: `attempt`
(the request's `x-client-request-id`), `event: begin`, `request` (number since the start), `dialect`, `path`, `model`,
`stream`, `max_tokens`, `key_suffix`, `at_ns`, `headers` (names), `body_sha256`, `body_bytes`, `refused` (status, when
the provider's own rules refused it), `acts`, and `body` with `--log-bodies`. When the answer ended follows `event: end`
with `outcome`: `complete`, `reset`, `truncated`, `client_gone` or `error` (an error status, an error or garbage inside
the answer), `status`, `events` and `bytes` that left, `usage` as the client was told it (null: it was not).
`client_gone` counts the events handed to the kernel, which may be more than the client read.

Answers are deterministic: an echo (`openai_answer.echo_text`) of the last user message without its directives, or tool
calls when there are tools and the message speaks of the weather or `tool_choice` forces one (`two cities`: two
parallel calls), or a text after tool results. `max_tokens`, `stop`, `n` and `response_format` are honoured. A token is a
word or one other character. Answers carry `x_provider_note`, which no schema knows, with a "model" inside.

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
    429, 500, ...       this status (100 to 599), with retry_after=TEXT, location=URL and
                        form=openai|html|empty|array|xai|text
    stall               never answers
    reset               TCP reset before any byte
    close               closes before any byte
    garbage=http        bytes that are no HTTP
Streams (K events have left; K beyond the last event never comes):
    pace=MS             waits between events
    wait_ack            sends the first event, each next one after a GET /_ack?attempt=ID
    stall_after=K, reset_after=K, error_after=K (an error event)
    truncate=K          ends the body after K events; also no_finish, no_done, in_json (the default: half an event);
                        the body ends as its framing demands, in_json without; end=fin, end=chunked choose
    garbage=data|utf8   an event that is no JSON or no UTF-8, after garbage_after=K (2); goes on after it
    split=N             N bytes in each write and chunk
    comments, crlf, no_space    comment lines, CRLF line ends, no blank after "data:"
    per_event=N         N tokens in each event
    interleave          fragments of parallel tool calls take turns
Plain answers:
    stall_after=K, reset_after=K, truncate=K    K bytes of the body, then nothing, a reset, a close (truncate: half)
    garbage=body|utf8   a body that is no JSON or no UTF-8
    layout=pretty|note_first    indented; the unknown member first
    framing=length|chunked|close, split=N
What it says, both:
    usage=missing|null|zero|cumulative|overbilled|negative|string    cumulative (also: doubled) states the running
                        usage in every event; overbilled adds a million output tokens
    cached=N, reasoning=N    cached prompt tokens, reasoning tokens (added to the output)
    empty=content|choices|body    nothing said and 0 output tokens; no choices; no body at all
    finish=REASON       stop, length, tool_calls, null, content_filter (which also works as a word)
    big=N               a text of N tokens; ignore_max: max_tokens is not obeyed
    text=TEXT, tool_calls=N, as_model=NAME
    content_type=TYPE, connection=close

A further dialect is a module with a class as `dialect.Dialect` describes, named in `__main__.py`.
"""

"""What LiteLLM's configuration calls things, which of them have a counterpart here, and why the others have none."""

from __future__ import annotations

from typing import Final

FAMILIES: Final = {
    "anthropic": "anthropic",
    "azure": "azure",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "gemini",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "together_ai": "together",
    "xai": "xai",
}
"""Its name of a provider to ours."""

SERVERS: Final = {
    "custom_openai": "server",
    "hosted_vllm": "vllm",
    "litellm_proxy": "litellm",
    "llamafile": "llamafile",
    "lm_studio": "lm-studio",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "openai_like": "server",
}
"""Its names for servers of one's own that speak the OpenAI chat dialect, to how a provider of ours is called."""

OLLAMA_BASE: Final = "http://localhost:11434"
PLACEHOLDERS: Final = frozenset({"", "none", "null", "empty", "dummy", "fake", "no-key", "not-needed", "anything"})
"""What people write for a key where none is asked."""

PRICES: Final = {
    "input_cost_per_token": "input_usd_per_mtok",
    "output_cost_per_token": "output_usd_per_mtok",
    "cache_read_input_token_cost": "cached_input_usd_per_mtok",
    "cache_creation_input_token_cost": "cache_write_usd_per_mtok",
}
"""Its prices, USD a token, to ours, USD a million tokens."""

LIMITS: Final = {"max_input_tokens": "context_window", "max_output_tokens": "max_output_tokens"}
CAPABILITIES: Final = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_audio_input": "audio",
    "supports_pdf_input": "documents",
    "supports_response_schema": "structured_output",
}
MODES: Final = frozenset({"chat", "completion", "responses", "embedding"})

NO_COUNTERPART: Final = "has no counterpart here"
_LIMIT = "limits stand with agents and keys here (AINFERA_RATE_LIMIT_RPM for calls a minute of one agent)"
_TIMEOUT = "one value for all: AINFERA_ATTEMPT_TIMEOUT_S and AINFERA_CALL_TIMEOUT_S"
_BALANCE = "a name has one model here; ainfera-inference chooses among models, and falls back before the first byte"
_DEFAULT = "a default of requests: callers send their own"
_CALLER_HEADS = "headers to providers are made by the gateway"

PARAMS: Final = {
    "api_version": "Azure's /openai/v1 takes none",
    "rpm": _LIMIT,
    "tpm": _LIMIT,
    "max_parallel_requests": _LIMIT,
    "max_budget": "budgets are wallets and caps of agents here",
    "budget_duration": "budgets are wallets and caps of agents here",
    "timeout": _TIMEOUT,
    "stream_timeout": _TIMEOUT,
    "max_retries": _BALANCE,
    "num_retries": _BALANCE,
    "weight": _BALANCE,
    "order": _BALANCE,
    "region_name": NO_COUNTERPART,
    "organization": "no header of OpenAI's organizations is sent; take a key of the project",
    "extra_headers": _CALLER_HEADS,
    "headers": _CALLER_HEADS,
    "extra_body": _DEFAULT,
    "max_tokens": _DEFAULT,
    "max_completion_tokens": _DEFAULT,
    "temperature": _DEFAULT,
    "top_p": _DEFAULT,
    "seed": _DEFAULT,
    "drop_params": "what a dialect cannot carry is refused or named in x-ainfera-dropped-fields",
    "additional_drop_params": "what a dialect cannot carry is refused or named in x-ainfera-dropped-fields",
    "litellm_credential_name": "stored credentials are not read; name a variable in api_key_env",
    "mock_response": "answers are never made up here",
    "input_cost_per_second": "prices are by token here",
    "output_cost_per_second": "prices are by token here",
    "tags": "tags come with a call here, and are counted in GET /v1/usage",
}

INFO: Final = {
    "id": "a model is known by its slug",
    "db_model": NO_COUNTERPART,
    "max_tokens": "is used only where max_output_tokens is not said",
    "access_groups": "which models an agent may use is said by the brands of its policy",
    "tier": NO_COUNTERPART,
}

SECTIONS: Final = {
    "callback_settings": "callbacks are not carried: GET /metrics, GET /v1/usage and the audit chain tell what was done",
    "credential_list": "keys stand in the environment: name a variable in api_key_env",
    "environment_variables": "variables belong into the environment of `ainfera-gateway serve`",
    "files_settings": "there is no files route",
    "finetune_settings": "there is no fine-tuning route",
    "guardrails": "guardrails are not carried",
    "include": "the files it names are not read: import each of them",
    "mcp_servers": "the gateway is no MCP proxy",
    "prompts": "prompts are not stored here",
    "search_tools": NO_COUNTERPART,
    "vector_store_registry": NO_COUNTERPART,
}

ROUTER: Final = {
    "routing_strategy": _BALANCE,
    "routing_strategy_args": _BALANCE,
    "fallbacks": _BALANCE,
    "context_window_fallbacks": _BALANCE,
    "content_policy_fallbacks": _BALANCE,
    "default_fallbacks": _BALANCE,
    "num_retries": _BALANCE,
    "retry_policy": _BALANCE,
    "allowed_fails": _BALANCE,
    "cooldown_time": _BALANCE,
    "enable_pre_call_checks": "context windows are checked for every routed call",
    "timeout": _TIMEOUT,
    "stream_timeout": _TIMEOUT,
    "redis_host": "there is no Redis: state is in the database (AINFERA_DATABASE_URL)",
    "redis_port": "there is no Redis: state is in the database (AINFERA_DATABASE_URL)",
    "redis_password": "there is no Redis: state is in the database (AINFERA_DATABASE_URL)",
    "redis_url": "there is no Redis: state is in the database (AINFERA_DATABASE_URL)",
}

LITELLM: Final = {
    **{name: ROUTER[name] for name in ("fallbacks", "context_window_fallbacks", "default_fallbacks", "num_retries")},
    "drop_params": PARAMS["drop_params"],
    "model_alias_map": "write its names under [aliases]",
    "request_timeout": _TIMEOUT,
    "set_verbose": "AINFERA_LOG_LEVEL says how much is logged",
    "json_logs": "log lines are JSON already",
    "cache": "answers are not cached here",
    "cache_params": "answers are not cached here",
    "success_callback": SECTIONS["callback_settings"],
    "failure_callback": SECTIONS["callback_settings"],
    "callbacks": SECTIONS["callback_settings"],
    "max_budget": PARAMS["max_budget"],
    "budget_duration": PARAMS["budget_duration"],
}

GENERAL: Final = {
    "master_key": "the operator's key comes from AINFERA_INTERNAL_KEY",
    "database_url": "the database comes from AINFERA_DATABASE_URL; its tables are not LiteLLM's",
    "store_model_in_db": "models stand in the file",
    "alerting": "alert on GET /metrics",
    "proxy_budget_rescheduler_min_time": NO_COUNTERPART,
    "max_parallel_requests": _LIMIT,
    "global_max_parallel_requests": _LIMIT,
    "port": "AINFERA_PORT",
    "host": "AINFERA_HOST",
}

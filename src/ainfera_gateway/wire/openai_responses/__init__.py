"""OpenAI responses, as a wire of providers: for models that are reached in no other way."""

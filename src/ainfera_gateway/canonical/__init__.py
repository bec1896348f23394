"""The one shape of a call inside the house: request, answer, stream events, usage. No I/O."""

"""The way of one call: parse, decide, reserve (T1), dispatch, settle (T2), answer, recover."""

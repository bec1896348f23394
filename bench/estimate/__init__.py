"""How good the input estimate is: a corpus of our own, the tokenizers there are, and the figures."""

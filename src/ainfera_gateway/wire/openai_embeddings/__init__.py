"""OpenAI embeddings, spoken on both sides alike."""

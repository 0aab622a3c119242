"""The service: a connected model at OpenAI's and at Ollama's HTTP routes."""

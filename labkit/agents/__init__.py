"""The agent loop and the four classic agent types."""

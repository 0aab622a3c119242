"""What a learner touches: chat, trace, profiler. Each also works as plain output."""

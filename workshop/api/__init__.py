"""An OpenAI-compatible HTTP façade in front of Triton."""

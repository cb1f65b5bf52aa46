"""Sentiment of reviews: the fine-tuned classifier, its training, its served forms and their client."""

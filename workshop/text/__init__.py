"""Sentence BERT and zero-shot classification: models, tokenisation, served forms and their clients."""

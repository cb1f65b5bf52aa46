"""GraphSAGE: model, sampling, training, inference, its served form and its client."""

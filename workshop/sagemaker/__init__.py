"""From a model repository to a SageMaker endpoint: the archive, the endpoint's life, requests, and a local stand-in."""

"""Federated learning itself: data, local training, aggregation, scoring, blobs.

Knows nothing of Django, of the chain's node or of the web pages. TensorFlow is imported by
`training.runtime` alone, inside a worker process.
"""

"""Thin views: read with a selector or write with a service, then render."""

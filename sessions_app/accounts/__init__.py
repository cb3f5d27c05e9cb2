"""Signing in, with django-allauth: its adapter, forms and addresses."""

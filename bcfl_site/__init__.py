"""Composition only: settings, the ASGI application, Celery, and the embedded services.

Nothing is imported here, so that ``bcfl_site.settings`` stays cheap to load.
"""

"""The open pages: the WebSocket and the parts of a task page that it carries."""

"""The production application with less patience for bodies than is right: tests need not wait for long."""

from app.web.current import EXTENSION
from app.web.rsgi import WholeRequests
from wsgi import application as wsgi_application

settings = wsgi_application.extensions[EXTENSION].settings
application = WholeRequests(
    wsgi_application.wsgi_app, connections=1, waiting=0, max_body_bytes=settings.max_body_bytes, seconds_to_read=2
)

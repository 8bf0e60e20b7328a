"""The RSGI entry: `application`, for granian, which so reads a request whole before a thread is given to it."""

from app.web.current import EXTENSION
from app.web.rsgi import WholeRequests
from wsgi import application as wsgi_application

settings = wsgi_application.extensions[EXTENSION].settings
application = WholeRequests(
    wsgi_application.wsgi_app,
    connections=settings.database_pool_size,
    waiting=settings.wait_max_requests if settings.wait_max_seconds else 0,
    max_body_bytes=settings.max_body_bytes,
)

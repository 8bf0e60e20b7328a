"""An empty Flask view, under the same server: what HTTP and Flask cost before anything is done."""

from flask import Flask

from app.web.rsgi import WholeRequests

wsgi = Flask(__name__)


@wsgi.post("/")
def empty() -> dict[str, str]:
    """Do nothing."""
    return {"status": "empty"}


rsgi = WholeRequests(wsgi.wsgi_app, connections=1, waiting=0, max_body_bytes=1_048_576)

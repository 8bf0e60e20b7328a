"""Programs that use TaskManager from outside, over HTTP."""

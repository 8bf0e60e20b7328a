"""What requests may say and what answers say: marshmallow classes, one file per resource."""

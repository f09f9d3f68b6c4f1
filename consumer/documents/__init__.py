"""The documents that are generated from the code: schemas, AsyncAPI, and pages of reference."""

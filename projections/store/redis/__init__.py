"""The store in Redis: one Lua script an operation, and the server that it runs on."""

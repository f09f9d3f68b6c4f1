"""`snapshot-admin`: what an operator looks at and sets up; one module a command."""

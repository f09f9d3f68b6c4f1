"""What an operator looks at, computed: for the commands that print it, and for the page."""

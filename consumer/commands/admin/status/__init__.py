"""How all of it is: what runs, what is behind, what fails, what waits for an operator."""

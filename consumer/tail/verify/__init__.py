"""The store compared with what was published: at the start of a tail, and in the background for as long as it runs."""

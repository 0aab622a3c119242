"""Functions as tools: schema, constraint, parsing, validation. Pure: knows no runtime."""

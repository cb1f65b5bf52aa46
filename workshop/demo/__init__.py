"""A web application on the library, for people who would rather look and click: one module a tab."""

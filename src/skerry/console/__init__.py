"""The web page. Comes with a later issue."""

"""The throw-away trust space: a place to see the main job done, and what our own tests stand on."""

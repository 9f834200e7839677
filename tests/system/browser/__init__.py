"""Pages in Debian's Chromium that talk to the server by every protocol that a browser has."""

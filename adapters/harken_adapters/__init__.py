"""Everything that touches a library, a disk, a socket or a screen."""

"""A cluster of DHT nodes in one process: the daemon's own code on a made-up network and clock."""

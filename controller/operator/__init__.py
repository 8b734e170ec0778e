"""What reaches out: the API server's client, the queue, leader election, and kopf that watches Extensions."""

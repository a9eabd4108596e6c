"""What the broker costs: whole frames through MQTT, a direct TCP connection and gRPC, side by side."""

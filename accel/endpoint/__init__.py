"""Drive a server that already runs, and say what it carries: `accel bench --endpoint URL`."""

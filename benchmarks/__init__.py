"""How fast is accel itself, what do batching and backends give on real models, and does the simulator say so too?"""

"""What a trial does, by torch: only `trainable` knows Ray here, and nothing knows MLflow."""

"""What a trial does. Nothing here but `trainable` knows Ray, and nothing knows MLflow."""

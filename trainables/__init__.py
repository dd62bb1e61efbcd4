"""What a trial does. Torch only: nothing here but `trainable` knows Ray, and nothing knows MLflow."""

"""What a trial does. Torch only: nothing here but `trial` knows Ray, and nothing knows MLflow."""

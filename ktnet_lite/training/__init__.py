"""From a configuration to a trained, evaluated and saved model."""

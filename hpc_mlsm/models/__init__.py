"""What learns and predicts: classifiers, the retrieval baseline, and the bundle that holds a trained model."""

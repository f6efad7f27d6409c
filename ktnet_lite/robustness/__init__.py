"""How well a system predicts clips that lack something: frozen masks, one model in every condition, intervals."""

"""What makes a recogniser: recipe, models, training, export. The only floor that imports torch."""

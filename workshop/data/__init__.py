"""Where inputs come from: movies, products, orders, sentiment."""

"""What a site's stores are to do, and what their energy is worth: the plan, its curve, its control and the optimum."""

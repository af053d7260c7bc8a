"""Who boots a cluster, who still holds it, and who ends it, among processes that may die at any moment.
The guardian is the one place that knows; here is how processes find it and stay in touch."""

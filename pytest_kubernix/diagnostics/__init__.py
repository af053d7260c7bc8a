"""What there is to say about a cluster when something went wrong: report sections, bundles of files, pictures.
Every question to a cluster is limited in time, and what could not be had is said instead of raised."""

"""Who may do what: keys and certificates, kubeconfigs, users and service accounts.
Each identity can name the API server by any address."""

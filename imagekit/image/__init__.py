"""What is shipped: recipe, root file system, manifests and index, Dockerfiles, archives."""

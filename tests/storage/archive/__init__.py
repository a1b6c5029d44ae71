"""Cold storage: segments and manifests, in a folder and in a bucket."""

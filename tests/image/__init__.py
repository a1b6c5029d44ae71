"""The container image, as operators run it. `make image-test` builds it and runs these tests."""

# All images of this build, for `docker buildx bake` in the folder that holds this file. Made by imagekit.
group "default" {
  targets = ["app", "a_b", "a_b_2"]
}

target "app" {
  context    = "."
  dockerfile = "Dockerfile.app"
  platforms  = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
  tags       = ["registry.example/team/app:1.4.0", "registry.example/team/app:latest"]
}

target "a_b" {
  context    = "."
  dockerfile = "Dockerfile.a.b"
  platforms  = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
  tags       = ["imagekit.local/a.b:$${x} %%{y}"]
}

target "a_b_2" {
  context    = "."
  dockerfile = "Dockerfile.a_b"
  platforms  = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
  tags       = ["imagekit.local/a_b:latest"]
}

# The image "app" on scratch: its root file system, and the programs that imagekit built and inspected.
# Made by imagekit. Build it in the folder that holds this file:
#   docker buildx bake -f docker-bake.hcl     all images and platforms
#   docker build -f "Dockerfile.app" .
# BuildKit names the platform by itself; the classic builder does not and takes "linux/amd64",
# tell it another by --build-arg TARGETOS=… --build-arg TARGETARCH=… (and TARGETVARIANT=v7 for arm).
FROM scratch
ARG TARGETOS
ARG TARGETARCH
ARG TARGETVARIANT
ADD ["rootfs/app.tar", "/"]
COPY ["bin/${TARGETOS:-linux}_${TARGETARCH:-amd64}${TARGETVARIANT:+_${TARGETVARIANT}}/app", "/app"]
LABEL "org.opencontainers.image.created"="2023-11-14T22:13:20Z" \
      "org.opencontainers.image.revision"="c0ffee" \
      "org.opencontainers.image.source"="https://git.example/team/app" \
      "org.opencontainers.image.title"="app" \
      "org.opencontainers.image.version"="1.4.0" \
      "team"="x"
ENV "MODE"="production"
USER 65532:65532
WORKDIR "/"
HEALTHCHECK CMD ["/app", "health"]
ENTRYPOINT ["/app"]

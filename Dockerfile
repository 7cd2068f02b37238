# allcores: one static file, for the images of others to copy:
#
#     COPY --from=allcores /allcores /allcores
#     ENTRYPOINT ["/allcores", "--"]
#
# Build:      docker build --build-arg VERSION=0.1.0 --build-arg GIT="$(git rev-parse --short=12 HEAD)" -t allcores .
# For arm64:  docker build --platform linux/arm64 --build-arg TARGET=aarch64-unknown-linux-musl -t allcores .

# On the machine that builds, whatever it builds for: Rust needs no emulation to make a program for arm64.
FROM --platform=$BUILDPLATFORM rust:1-alpine AS build
ARG TARGET=x86_64-unknown-linux-musl
RUN rustup target add "$TARGET"
WORKDIR /src
COPY . .
ARG GIT=unknown
ENV BUILD_GIT=$GIT
# Rust's own linker makes programs for other machines; for this one the usual one does.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    case "$TARGET" in "$(uname -m)"-*) linker=cc ;; *) linker=rust-lld ;; esac \
    && cargo build --release --locked --target "$TARGET" --config "target.$TARGET.linker='$linker'" \
    && cp "target/$TARGET/release/allcores" /allcores

FROM scratch
ARG VERSION=unknown
ARG GIT=unknown
LABEL org.opencontainers.image.title="allcores" \
      org.opencontainers.image.description="PID 1 for containers: one program on every core, behind one socket" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$GIT"
COPY --from=build /allcores /allcores
# A number: there is no user database here, and Kubernetes' runAsNonRoot wants to see that it is not 0.
USER 65534:65534
ENTRYPOINT ["/allcores"]

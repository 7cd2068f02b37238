# allcores: one static file, for the images of others to copy:
#
#     COPY --from=allcores /allcores /allcores
#     ENTRYPOINT ["/allcores", "--"]
#
# Build:      docker build --build-arg VERSION=0.1.0 --build-arg GIT="$(git rev-parse --short=12 HEAD)" -t allcores .
# For both:   docker buildx build --platform linux/amd64,linux/arm64 … -t allcores .

# On the machine that builds, whatever it builds for: Rust needs no emulation to make a program for another.
FROM --platform=$BUILDPLATFORM rust:1-alpine AS build
# BuildKit's word for what is asked for.
ARG TARGETARCH
ARG GIT=unknown
ENV BUILD_GIT=$GIT
WORKDIR /src
COPY . .
# Rust's own linker makes programs for other machines; for this one the usual one does.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    case "$TARGETARCH" in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; *) machine=$TARGETARCH ;; esac \
    && case "$machine" in "$(uname -m)") linker=cc ;; *) linker=rust-lld ;; esac \
    && target=$machine-unknown-linux-musl \
    && rustup target add "$target" \
    && cargo build --release --locked --target "$target" --config "target.$target.linker='$linker'" \
    && cp "target/$target/release/allcores" /allcores

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

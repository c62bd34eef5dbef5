# syntax=docker/dockerfile:1
#
# One static binary on an empty file system:
#   docker build -t sluice .
#   docker run -p 9092:9092 -v sluice:/var/lib/sluice sluice

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# The modules are a layer of their own, fetched again only when they change.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
# The version of a release, such as 1.2.3; empty for a build of a checkout.
ARG VERSION
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=$VERSION" -o /out/sluice ./cmd/sluice
RUN mkdir -p /out/store /out/tmp

FROM scratch
# For S3 over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/sluice /usr/bin/sluice
# 1000 is the user of the apache/kafka image too, so that its volumes stay writable.
COPY --from=build --chown=1000:1000 /out/store /var/lib/sluice
# For the disk cache. With a read-only root file system mount a volume here, or do without.
COPY --from=build --chown=1000:1000 /out/tmp /tmp
USER 1000:1000
ENV SLUICE_STORE=/var/lib/sluice
VOLUME /var/lib/sluice
# Kafka; metrics and health.
EXPOSE 9092 9644
STOPSIGNAL SIGTERM
# There is no shell and no curl here: the binary asks itself.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/usr/bin/sluice", "health"]
ENTRYPOINT ["/usr/bin/sluice"]
CMD ["serve"]
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="A Kafka broker whose log is a Delta table" \
      org.opencontainers.image.licenses="Apache-2.0"

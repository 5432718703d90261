# syntax=docker/dockerfile:1
# The image of the program: docker build -t panini:0.1.0 .
# A service's own image is this one and its scripts; `panini new` makes such a project.

FROM swift:6.3-bookworm AS build
# The base image pins what there is to pin: a release of Debian.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends liblua5.4-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The dependencies are fetched again only when the manifest changes.
COPY Package.swift ./
RUN swift package resolve
COPY Sources ./Sources
COPY Tests ./Tests
RUN swift build -c release --product panini --static-swift-stdlib -Xlinker --no-export-dynamic -Xlinker --gc-sections \
    && strip --strip-all -o /panini .build/release/panini

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates liblua5.4-0 libstdc++6 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /srv --shell /usr/sbin/nologin panini \
    && install --directory --owner=panini --group=panini /srv /var/log/panini
COPY --from=build /panini /usr/local/bin/panini
USER 10001
WORKDIR /srv
# A web server listens on all of the container's addresses: its 127.0.0.1 is its own, and no published port leads there.
ENV PANINI_LOGGER_FILES_PATH=/var/log/panini PANINI_CONTROL_DIR=/tmp/panini PANINI_WEB_HOST=0.0.0.0
# Healthy: a service runs, and none has lost its broker.
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s \
    CMD ["sh", "-c", "services=$(panini ps --json) && echo \"$services\" | grep -q '\"state\": \"running\"' && ! echo \"$services\" | grep -q '\"connected\": false'"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["panini"]
CMD ["run", "main.lua"]

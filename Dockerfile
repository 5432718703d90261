# syntax=docker/dockerfile:1
# The image of the program: docker build -t panini .
# A service's own image is this one and its scripts; `panini new` makes such a project.

FROM swift:6.3-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends liblua5.4-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The dependencies are compiled again only when the manifest changes.
COPY Package.swift ./
COPY Sources ./Sources
COPY Tests ./Tests
RUN swift build -c release --product panini --static-swift-stdlib \
    && strip --strip-all -o /panini .build/release/panini

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates liblua5.4-0 libstdc++6 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /srv --shell /usr/sbin/nologin panini \
    && install --directory --owner=panini --group=panini /srv /var/log/panini
COPY --from=build /panini /usr/local/bin/panini
USER panini
WORKDIR /srv
ENV PANINI_LOGGER_FILES_PATH=/var/log/panini
STOPSIGNAL SIGTERM
ENTRYPOINT ["panini"]
CMD ["run", "main.lua"]

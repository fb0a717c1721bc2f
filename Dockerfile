# Build: Debian and the packages of cmake/packages.sh; nothing else is fetched.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY cmake/packages.sh cmake/packages.sh
RUN cmake/packages.sh need build && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY include include
COPY src src
RUN cmake --preset release -DWEIR_PRECOMPILE=ON \
    && cmake --build --preset release --target weir \
    && strip build/release/bin/weir

# Gather what the binary needs to run: the libraries it links, CA certificates, a user.
FROM debian:bookworm-slim AS root
COPY cmake/packages.sh /tmp/packages.sh
RUN /tmp/packages.sh need run-time && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/build/release/bin/weir /usr/local/bin/weir
RUN set -e; mkdir -p /image/tmp /image/data /image/usr/local/bin; \
    # Not linked: libcurl is loaded by the commands that need it.
    ldd /usr/local/bin/weir /usr/lib/*/libcurl.so.4 > /tmp/linked; ! grep 'not found' /tmp/linked; \
    grep -o '/[^ :]*' /tmp/linked | sort -u | xargs cp -L --parents -t /image; \
    cp -a --parents -t /image /etc/ssl/certs /usr/lib/ssl /usr/share/ca-certificates \
        /usr/share/zoneinfo; \
    cp /usr/local/bin/weir /image/usr/local/bin/; \
    echo 'weir:x:10001:10001::/data:/nonexistent' > /image/etc/passwd; \
    echo 'weir:x:10001:' > /image/etc/group; \
    echo 'hosts: files dns' > /image/etc/nsswitch.conf; \
    mkdir -p /image/etc/weir; \
    chown 10001:10001 /image/data; chmod 0700 /image/data; chmod 1777 /image/tmp

# Run: no shell, no package manager, no root.
FROM scratch
COPY --from=root /image /
USER 10001:10001
WORKDIR /data
# Inside a container the loopback address reaches nobody.
ENV WEIR_LISTEN=0.0.0.0:8080 WEIR_DATA=/data
EXPOSE 8080
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/weir", "health"]
ENTRYPOINT ["/usr/local/bin/weir"]
# With a config at /etc/weir/weir.yaml if one is mounted there, else with the keys of the environment.
CMD ["serve"]

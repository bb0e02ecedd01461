# The program alone, as a user without rights. Not built where it was written, for no engine runs there.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --locked --release --bin pii-vault

FROM debian:bookworm-slim
# Roots for TLS to AWS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin pii-vault
COPY --from=build /build/target/release/pii-vault /usr/local/bin/pii-vault
USER 10001
ENTRYPOINT ["pii-vault"]

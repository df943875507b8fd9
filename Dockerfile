# The proxy in a container: docker build -t smtpproxy . && docker run -p 127.0.0.1:1025:1025 -v smtpproxy:/data smtpproxy
# With the page, which wants a token off its own loopback: -p 127.0.0.1:8025:8025 -e SMTPPROXY_WEB=0.0.0.0:8025 -e SMTPPROXY_WEB_TOKEN=…
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels smtpproxy && rm -rf /wheels \
    && useradd --system --uid 10025 --home-dir /data --create-home --shell /usr/sbin/nologin smtpproxy \
    && chmod 700 /data
USER smtpproxy
# Recordings and the CA; both must outlive the container.
VOLUME /data
EXPOSE 1025 8025
STOPSIGNAL SIGTERM
# All addresses *inside* the container: who can reach the port is decided by docker run's -p.
ENTRYPOINT ["smtpproxy"]
CMD ["run", "--listen", "smtp://0.0.0.0:1025", "--store", "/data/recordings.db", "--certs", "/data/certs"]

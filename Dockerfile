# Two stages on the same base: one that has a network, build tools and the sources; one that has neither.
FROM python:3.11-alpine3.23 AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/build

# The only step that downloads. What has another hash, or is no wheel, is refused.
COPY requirements.lock ./
RUN python -m pip download --require-hashes --only-binary :all: -r requirements.lock -d wheels

# From here on nothing comes from elsewhere, and the tools that build stay behind.
COPY pyproject.toml README.md LICENSE ./
COPY proxy/ proxy/
COPY plugins/ plugins/
RUN python -m pip wheel --no-index --find-links wheels --no-deps -w built . \
 && python -m venv --without-pip /opt/backstory \
 && python -m pip --python /opt/backstory/bin/python install --no-cache-dir \
    --no-index --find-links wheels built/*.whl

FROM python:3.11-alpine3.23
COPY --from=build /opt/backstory /opt/backstory
# A number, so that Kubernetes can see that it is not root. A new volume takes over this owner.
RUN install -d -m 0700 -o 10001 -g 10001 /data
ENV PATH=/opt/backstory/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    BACKSTORY_LISTEN=0.0.0.0:7001 \
    BACKSTORY_STORE=sqlite:////data/backstory.db
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 7001
STOPSIGNAL SIGTERM
# Not urllib, which would ask the proxy that HTTP_PROXY names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-I", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 7001, timeout=3); c.request('GET', '/-/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["backstory"]
CMD ["serve"]

# The studio in a container: CPU by default; --build-arg TORCH_INDEX=<index url> picks another torch build.
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install -y --no-install-recommends tini libgl1 libglib2.0-0 curl \
 && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 user
USER user
ENV HOME=/home/user \
    PATH=/home/user/.local/bin:$PATH \
    STUDIO_HOST=0.0.0.0 \
    STUDIO_PORT=7860 \
    STUDIO_DATA_DIR=/home/user/data \
    HF_HOME=/home/user/.cache/huggingface \
    PYTHONUNBUFFERED=1
WORKDIR /home/user/app

ARG TORCH_INDEX=""
COPY --chown=user requirements.txt ./
RUN pip install --user --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements.txt

COPY --chown=user . ./
RUN mkdir -p /home/user/data /home/user/.cache/huggingface
VOLUME ["/home/user/data", "/home/user/.cache/huggingface"]

EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD curl -fsS http://127.0.0.1:7860/healthz || exit 1
ENTRYPOINT ["tini", "--"]
CMD ["python", "app.py"]

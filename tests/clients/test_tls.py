"""A TLS key on the mount: used by openssl, Python and nginx; pages fetched by Python and curl."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request
from pathlib import Path

import pytest

from harness import SECRETCTL, accepts_connections, end, eventually, free_port, identity, run, spawn

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


@pytest.fixture
def certificates(folder):
    """Two self-signed certificates for localhost with their keys: name -> (certificate, key)."""
    made = {}
    for name in ("first", "second"):
        certificate, key = folder / f"{name}.crt", folder / f"{name}.pem"
        run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-subj",
                f"/CN={name}",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-days",
                "2",
                "-keyout",
                key,
                "-out",
                certificate,
            ]
        )
        made[name] = (certificate.read_bytes(), key.read_bytes())
        key.unlink()
    return made


def put_pair(store, pair):
    certificate, key = pair
    store.put("tls/cert", certificate, "-p", "--mode", "0444")
    store.put("tls/key", key, "--mode", "0400")


def name_served(port, trusted):
    """Shake hands, trusting one certificate; its common name, or None if it is another."""
    context = ssl.create_default_context(cafile=trusted)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                return dict(pair[0] for pair in secured.getpeercert()["subject"])["commonName"]
        except ssl.SSLCertVerificationError:
            return None


def test_openssl_checks_the_key(store, mount, certificates):
    put_pair(store, certificates["first"])
    root = mount().path / "tls"
    check = "openssl pkey -check -noout -in".split()
    assert b"Key is valid" in run([*check, root / "key"]).stdout
    public = run(["openssl", "pkey", "-pubout", "-in", root / "key"]).stdout
    assert run(["openssl", "x509", "-pubkey", "-noout", "-in", root / "cert"]).stdout == public
    done = run([*check, root / "key"], status=1, **identity(20001))
    assert b"Permission denied" in done.stderr


def test_openssl_serves_with_the_key(store, mount, certificates, folder):
    put_pair(store, certificates["first"])
    root, port = mount().path / "tls", free_port()
    server = spawn(
        [
            "openssl",
            "s_server",
            "-accept",
            f"127.0.0.1:{port}",
            "-www",
            "-quiet",
            "-cert",
            root / "cert",
            "-key",
            root / "key",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: accepts_connections(port))
        done = run(
            [
                "openssl",
                "s_client",
                "-connect",
                f"127.0.0.1:{port}",
                "-CAfile",
                folder / "first.crt",
                "-verify_return_error",
                "-brief",
            ],
            input=b"Q\n",
        )
        assert b"Verification: OK" in done.stderr
    finally:
        server.terminate()
        end(server)


def test_python_serves_with_the_key(store, mount, certificates, folder):
    put_pair(store, certificates["first"])
    root = mount().path / "tls"
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(root / "cert", root / "key")


@pytest.fixture
def nginx(folder):
    """A function that starts an nginx with the certificate and key in a folder; its port."""
    started = []

    def start(root):
        port = free_port()
        (folder / "nginx.conf").write_text(
            f"""
            user nobody nogroup;
            worker_processes 1;
            error_log {folder}/nginx.log;
            pid {folder}/nginx.pid;
            events {{ }}
            http {{
                access_log off;
                client_body_temp_path {folder}/nginx-body;
                proxy_temp_path {folder}/nginx-proxy;
                fastcgi_temp_path {folder}/nginx-fastcgi;
                uwsgi_temp_path {folder}/nginx-uwsgi;
                scgi_temp_path {folder}/nginx-scgi;
                server {{
                    listen 127.0.0.1:{port} ssl;
                    ssl_certificate {root}/cert;
                    ssl_certificate_key {root}/key;
                    location / {{ return 200 "served"; }}
                }}
            }}
            """
        )
        server = spawn([NGINX, "-p", folder, "-c", folder / "nginx.conf", "-g", "daemon off;"])
        started.append(server)
        eventually(lambda: accepts_connections(port))
        return port

    yield start
    for server in started:
        server.terminate()
        end(server)


def test_nginx_serves_with_the_key_and_after_a_rotation(store, mount, certificates, folder, nginx):
    put_pair(store, certificates["first"])
    root = mount().path / "tls"
    port = nginx(root)
    url, trusted = f"https://localhost:{port}/", folder / "first.crt"
    with urllib.request.urlopen(
        url, context=ssl.create_default_context(cafile=trusted), timeout=30
    ) as page:
        assert page.read() == b"served"
    assert run(["curl", "-sS", "--ipv4", "--cacert", trusted, url]).stdout == b"served"
    assert name_served(port, trusted) == "first"

    put_pair(store, certificates["second"])
    eventually(lambda: (root / "key").read_bytes() == certificates["second"][1])
    assert (root / "cert").read_bytes() == certificates["second"][0]
    assert name_served(port, trusted) == "first", "nginx reads its key once"
    run([NGINX, "-p", folder, "-c", folder / "nginx.conf", "-s", "reload"])
    eventually(lambda: name_served(port, folder / "second.crt") == "second")
    eventually(lambda: name_served(port, trusted) is None)


def test_nginx_follows_rotations_and_fails_no_request(store, mount, certificates, folder, nginx, measured):
    """`secretctl watch` reloads it, while requests run that trust both certificates."""
    store.quick = True
    put_pair(store, certificates["first"])
    root = mount().path / "tls"
    port = nginx(root)
    both = folder / "both.crt"
    both.write_bytes(certificates["first"][0] + certificates["second"][0])
    trusting, ended, served, failures = ssl.create_default_context(cafile=both), threading.Event(), [], []

    def fetch():
        while not ended.is_set():
            try:
                with urllib.request.urlopen(f"https://localhost:{port}/", context=trusting, timeout=30) as page:
                    served.append(page.read())
            except OSError as error:
                failures.append(repr(error))

    options = ["--delay", "100ms", "--signal", "HUP", "--pid-file", folder / "nginx.pid"]
    log = open(folder / "watch.log", "w+b")
    watch = spawn([SECRETCTL, "watch", root / "key", root / "cert", *options], stderr=log)
    readers = [threading.Thread(target=fetch) for _ in range(3)]
    try:
        eventually(lambda: "signalfd" in str([os.readlink(fd) for fd in Path(f"/proc/{watch.pid}/fd").iterdir()]))
        for reader in readers:
            reader.start()
        for number in range(6):
            name = ("second", "first")[number % 2]
            put_pair(store, certificates[name])
            eventually(lambda: name_served(port, folder / f"{name}.crt") == name)
    finally:
        ended.set()
        for reader in readers:
            reader.join()
        watch.terminate()
        assert end(watch) == 0
        log.close()
    assert (folder / "watch.log").read_text() == ""
    assert failures == [] and len(served) > 20 and set(served) == {b"served"}
    measured(f"6 rotations of key and certificate under {len(served)} requests: none failed")

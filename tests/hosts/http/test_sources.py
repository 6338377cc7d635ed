"""The source of a request, according to its headers."""

from collections.abc import Mapping

import pytest

from harken_adapters.hosts.http.guards.sources import is_foreign, is_same_origin, why_not_local

DIRECT = {"host": "127.0.0.1:8000"}


def reason(
    headers: Mapping[str, str], *more: tuple[str, str], peer: str | None = "127.0.0.1", version: str = "1.1"
) -> str:
    """Why a request is not direct; empty if it seems to be."""
    return why_not_local([*{**DIRECT, **headers}.items(), *more], peer, version) or ""


class TestSameOrigin:
    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("http://localhost:8000", "localhost:8000"),
            ("http://LocalHost:8000", "localhost:8000"),
            ("http://[::1]:8000", "[::1]:8000"),
            ("http://shop.example", "shop.example"),
            ("http://shop.example", "shop.example:80"),
            # A proxy terminates TLS and passes the host name on.
            ("https://shop.example", "shop.example"),
            ("https://shop.example", "shop.example:443"),
            ("https://shop.example:8443", "shop.example:8443"),
            ("http://shop.example.", "shop.example."),
        ],
    )
    def test_the_same(self, origin: str, host: str) -> None:
        """The same name and port, in any notation."""
        assert is_same_origin(origin, host)

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("null", "localhost:8000"),
            ("", ""),
            ("http://localhost:8000", None),
            ("http://localhost:8001", "localhost:8000"),
            ("http://localhost", "localhost:8000"),
            ("http://localhost:8000", "localhost"),
            ("https://shop.example", "shop.example:80"),
            ("http://127.0.0.1:8000", "localhost:8000"),
            ("http://localhost:8000.evil.example", "localhost:8000"),
            ("http://evil@localhost:8000", "localhost:8000"),
            ("http://localhost:8000", "evil@localhost:8000"),
            ("http://evil@localhost:8000", "evil@localhost:8000"),
            ("http://localhost#x", "localhost#x"),
            ("http://localhost/", "localhost"),
            ("http://localhost\\", "localhost"),
            ("http://localhost.", "localhost"),
            ("http://a, http://b", "b"),
            ("http://b", "a, b"),
            ("http://b:0", "b:0"),
            ("http://b:65536", "b:65536"),
            ("http://b:", "b:"),
            ("http://b:٣", "b:٣"),
            ("file://b", "b"),
            ("b", "b"),
        ],
    )
    def test_another(self, origin: str, host: str | None) -> None:
        """Anything else, including equal invalid values."""
        assert not is_same_origin(origin, host)


class TestForeign:
    @pytest.mark.parametrize(
        ("headers", "foreign"),
        [
            ({}, False),
            ({"origin": "http://127.0.0.1:8000"}, False),
            ({"origin": "http://evil.example"}, True),
            ({"origin": "null"}, True),
            ({"sec-fetch-site": "same-origin"}, False),
            ({"sec-fetch-site": "none"}, False),
            ({"sec-fetch-site": "same-site"}, True),
            ({"sec-fetch-site": "cross-site"}, True),
            ({"sec-fetch-site": ""}, True),
            ({"sec-fetch-site": "same-origin, cross-site"}, True),
            # A proxy that sends another host name to its backend.
            ({"sec-fetch-site": "same-origin", "origin": "https://shop.example"}, False),
            ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8000"}, True),
        ],
    )
    def test_headers_of_browsers(self, headers: dict[str, str], foreign: bool) -> None:
        """``Sec-Fetch-Site`` takes precedence over ``Origin``, and only known values are accepted."""
        assert is_foreign({**DIRECT, **headers}.get) == foreign

    def test_missing_headers_are_not_proof(self) -> None:
        """If proof is needed, a request without either header is foreign."""
        assert is_foreign(DIRECT.get, needs_proof=True)
        assert not is_foreign({**DIRECT, "origin": "http://127.0.0.1:8000"}.get, needs_proof=True)


class TestDirect:
    @pytest.mark.parametrize(
        "host",
        ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "127.8.8.8:65535", "[::1]", "[::1]:8000"],
    )
    @pytest.mark.parametrize("version", ["1.1", "2"])
    def test_it_is(self, host: str, version: str) -> None:
        """A request from a program or page on the local machine, with a loopback name."""
        assert reason({"host": host}, peer="::1", version=version) == ""
        own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
        assert reason(own, version=version) == ""

    @pytest.mark.parametrize(
        "host",
        [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:8000.evil.example",
            "evil@localhost",
            "localhost@evil.example",
            "localhost#x",
            "localhost/x",
            "localhost?x",
            "localhost\\x",
            "localhost, evil.example",
            "localhost evil.example",
            "localhost.",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:80:80",
            "localhost:x",
            "localhost:٣",
            "::1",
            "[::1",
            "[127.0.0.1]",
            "[::2]",
            "0.0.0.0",
            "0x7f.1",
            "127.1",
            "2130706433",
            "192.0.2.7",
            "\u217cocalhost",
        ],
    )
    def test_another_host(self, host: str) -> None:
        """``Host`` is compared as a whole: a name that only contains a loopback name does not match."""
        assert "Host" in reason({"host": host})

    def test_the_host_once(self) -> None:
        """A missing or repeated Host is rejected."""
        assert "Host" in reason({}, ("host", "127.0.0.1:8000"))
        assert "Host" in (why_not_local([], "127.0.0.1", "1.1") or "")

    @pytest.mark.parametrize(
        "name",
        [
            *("via", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-anything"),
            *("x-forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip", "cf-ray", "cf-anything"),
            *("x_forwarded_for", "x-client-ip", "x-original-url", "cdn-loop"),
            *("x-amzn-trace-id", "x-amz-cf-id", "cloudfront-viewer-address", "x-cloud-trace-context", "x-goog-iap-jwt"),
            *("x-envoy-external-address", "x-envoy-attempt-count", "x-request-start", "x-queue-start", "x-varnish"),
            *("forwarded-for", "x-azure-clientip", "x-azure-ref", "x-arr-log-id", "x-arr-ssl", "x-appengine-country"),
            *("fly-client-ip", "fly-region", "wl-proxy-client-ip", "wl-proxy-ssl", "x-proxyuser-ip", "x-remote-addr"),
            *("ngrok-agent-ips", "tailscale-user-login", "front-end-https", "x-scheme", "x-cluster-client-ip"),
            *("fastly-client-ip", "fastly-ssl", "akamai-origin-hop", "x-akamai-edgescape", "x-sendfile-type"),
            *("x-accel-mapping", "x-forward-for", "x-real-port", "x-ssl-client-verify", "ssl-client-cert"),
            *("proxy-connection", "do-connecting-ip", "x-vercel-id", "incap-client-ip", "remote-user", "x-url-scheme"),
            *("x_amzn_trace_id", "fly_client_ip"),
        ],
    )
    @pytest.mark.parametrize("value", ["127.0.0.1", ""])
    def test_a_proxy(self, name: str, value: str) -> None:
        """Any header that a proxy adds, with any value, even an empty one."""
        assert name.replace("_", "-") in reason({name: value})

    @pytest.mark.parametrize(
        "name",
        [
            *("accept", "accept-encoding", "accept-language", "authorization", "cache-control", "connection", "cookie"),
            *("content-length", "content-type", "dnt", "expect", "if-match", "if-none-match", "idempotency-key"),
            *("last-event-id", "pragma", "priority", "range", "referer", "save-data", "te", "transfer-encoding"),
            *(
                "sec-fetch-dest",
                "sec-fetch-mode",
                "sec-fetch-user",
                "sec-ch-ua",
                "sec-gpc",
                "sec-purpose",
                "user-agent",
            ),
            *("upgrade-insecure-requests", "x-requested-with", "x-request-id", "x-correlation-id", "x-csrf-token"),
            *("x-xsrftoken", "x-http-method-override", "traceparent", "tracestate", "baggage", "b3", "x-b3-traceid"),
            *("hx-request", "access-control-request-method", "access-control-request-headers", "remotely", "x-clients"),
        ],
    )
    def test_what_direct_clients_send(self, name: str) -> None:
        """Headers of browsers, curl, HTTP libraries, notebooks and tracing do not indicate a proxy."""
        assert reason({name: "x"}) == ""

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "http://127.0.0.1:9", "http://localhost:8000", ""]
    )
    def test_another_origin(self, origin: str) -> None:
        """A page of any other origin, including other ports of the local machine."""
        assert "Origin" in reason({"origin": origin})
        assert "Origin" in reason({"origin": "http://127.0.0.1:8000"}, ("origin", origin))

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "", "new"])
    def test_another_site(self, site: str) -> None:
        """A request that another site caused, including links."""
        assert "another origin" in reason({"sec-fetch-site": site})

    @pytest.mark.parametrize("version", ["1.0", "0.9", ""])
    def test_an_old_version(self, version: str) -> None:
        """HTTP/1.0, which nginx uses for its backends."""
        assert "HTTP/" in reason({}, version=version)

    @pytest.mark.parametrize("peer", [None, "", "192.0.2.7", "testclient"])
    def test_another_machine(self, peer: str | None) -> None:
        """A connection from another machine, or from an unknown address."""
        assert "another machine" in reason({}, peer=peer)

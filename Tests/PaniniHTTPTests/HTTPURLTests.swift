// Reading URLs and resolving references (RFC 3986, section 5.4).

import Testing

@testable import PaniniHTTP

@Suite("URLs")
struct HTTPURLTests {
    @Test(arguments: [
        ("http://example.org", "http://example.org/"),
        ("HTTPS://Example.ORG:443/a?b=c#d", "https://example.org/a?b=c"),
        ("http://example.org:8080?x", "http://example.org:8080/?x"),
        ("http://[::1]:81/ä b", "http://[::1]:81/%C3%A4%20b"),
        ("http://a/%2F%zz?a=<b>&c=[d]", "http://a/%2F%zz?a=%3Cb%3E&c=[d]"),
        ("http://user:secret@a/", "http://a/"),
        ("http://a:/", "http://a/"),
    ])
    func reads(_ text: String, _ wanted: String) throws {
        #expect(try HTTPURL(text).text == wanted)
    }

    @Test func takesPartsApart() throws {
        let url = try HTTPURL("https://us%40er:p%3Aw@h.example:8443/x")
        #expect(url.isSecure && url.host == "h.example" && url.port == 8443 && url.target == "/x")
        #expect(url.credentials.map { String(decoding: $0, as: UTF8.self) } == "us@er:p:w")
        #expect(url.authority == "h.example:8443")
        #expect(try HTTPURL("http://h:443").authority == "h:443")
        #expect(try HTTPURL("https://h").port == 443)
    }

    @Test(arguments: [
        ("example.org/a", "no scheme"), ("localhost:8080/a", "no scheme"), ("/a", "no scheme"), ("", "no scheme"),
        ("ftp://a/", "another scheme"), ("http:/a", "no host"), ("http://", "no host"), ("http:///a", "no host"),
        ("http://user:secret@/", "no host"), ("http://a:0/", "port"), ("http://a:65536/", "port"),
        ("http://a:8o/", "port"), ("http://[::1/", "IPv6"), ("http://[x]/", "IPv6"), ("http://[::1]x/", "valid host"),
        ("http://bücher.example/", "xn--"), ("http://a b/", "characters"), ("http://a%2eb/", "characters"),
        ("http://a/\r\nx: y", "line break"), ("http://a/\u{0}", "line break"),
    ])
    func refuses(_ text: String, _ reason: String) {
        let problem = #expect(throws: HTTPURLError.self) { try HTTPURL(text) }
        #expect(problem?.message.contains(reason) == true, "\(problem?.message ?? "")")
        #expect(problem?.message.contains("secret") == false)
    }

    /// The examples of RFC 3986, section 5.4, but for those with parameters of paths and without the fragment.
    @Test(arguments: [
        ("http://g/y", "http://g/y"), ("g", "http://a/b/c/g"), ("./g", "http://a/b/c/g"), ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"), ("//g", "http://g/"), ("?y", "http://a/b/c/d;p?y"), ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"), ("g#s", "http://a/b/c/g"), ("", "http://a/b/c/d;p?q"), (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"), ("..", "http://a/b/"), ("../", "http://a/b/"), ("../g", "http://a/b/g"),
        ("../..", "http://a/"), ("../../../g", "http://a/g"), ("/./g", "http://a/g"), ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."), ("..g", "http://a/b/c/..g"), ("./g/.", "http://a/b/c/g/"),
        ("g?y/./x", "http://a/b/c/g?y/./x"), ("g?y/../x", "http://a/b/c/g?y/../x"),
    ])
    func resolves(_ reference: String, _ wanted: String) throws {
        #expect(try HTTPURL("http://a/b/c/d;p?q").resolving(reference).text == wanted)
    }

    @Test func originsDifferInSchemeHostAndPort() throws {
        let url = try HTTPURL("https://a/x")
        #expect(url.hasOrigin(of: try HTTPURL("https://A:443/y")))
        for other in ["http://a:443/", "https://b/", "https://a:444/"] {
            #expect(!url.hasOrigin(of: try HTTPURL(other)), "\(other)")
        }
    }

    @Test func aReferenceToAnotherHostLosesTheCredentials() throws {
        let url = try HTTPURL("http://u:p@a/x")
        #expect(try url.resolving("/y").credentials != nil)
        #expect(try url.resolving("//b/y").credentials == nil)
    }
}
